"""A month of bills, and the providers' reports of it, in which six faults are planted. Deterministic.

 1. outside: somebody called gpt-4o with a key that is none of the gateway's.
 2. price: from the 16th on Anthropic bills output of claude-sonnet-4-5 at $18, the price book says $15.
 3. tokens: streams of gpt-4o-mini were cut; we estimated their output, the provider billed all of it.
 4. rounding: Anthropic's lines are rounded to the cent, in CSV OpenAI's too; and our bills to the nano-USD.
 5. time zone: Anthropic counts the calls after 21:00 UTC of the 20th on the 21st.
 6. class: on the 25th Anthropic bills cache writes as plain input.

Spans go through the writer's own door, so that `verify` holds. The reports are added up from the calls by arithmetic of
their own. `python -m tests.reconcile.planted --data DIR` loads the month before this one into a running platform.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

import psycopg

from llmobs.budgets import definition
from llmobs.core.clock import ns_from_utc
from llmobs.core.semconv import CHAT, SOURCE_GATEWAY
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

MONTH = date(2026, 10, 1)
CLASSES = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
CENT = Decimal("0.01")
SONNET, GPT, MINI = "claude-sonnet-4-5", "gpt-4o", "gpt-4o-mini"
DATED = {SONNET: "claude-sonnet-4-5-20250929", GPT: "gpt-4o-2024-08-06", MINI: "gpt-4o-mini-2024-07-18"}
PROVIDERS = {SONNET: "anthropic", GPT: "openai", MINI: "openai"}
# What the provider bills, USD per million tokens: written down here, not read from the price book under test.
USD = {
    SONNET: dict(zip(CLASSES, map(Decimal, ("3", "0.3", "3.75", "6", "15")), strict=True)),
    GPT: dict(zip(CLASSES, map(Decimal, ("2.5", "1.25", "0", "0", "10")), strict=True)),
    MINI: dict(zip(CLASSES, map(Decimal, ("0.15", "0.075", "0", "0", "0.6")), strict=True)),
}
GATEWAY_KEYS = {"openai": "key_gateway", "anthropic": "apikey_01Gateway"}
STRANGER = "key_laptop"
OUTSIDE_DAYS, CHANGE_DAY, CUT_DAY, ZONE_DAY, CLASS_DAY = (12, 13, 14), 16, 9, 20, 25
ZONE_HOURS = 3
NEW_OUTPUT_USD = Decimal(18)


@dataclass(frozen=True)
class Call:
    """A call as the provider has it: on which of its days, with which key, how many tokens of each class."""

    at: datetime
    model: str
    key: str
    counts: dict[str, int]
    billed_day: date
    billed: dict[str, int]


@dataclass
class Planted:
    """The month: spans of ours, the provider's calls, and by name what is planted, in USD."""

    month: date
    spans: list[Span] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    prices: dict[str, Price] = field(default_factory=dict)
    expected: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def reports(self, form: str) -> dict[tuple[str, str], str]:
        """The four reports as "json" or "csv", by account and kind."""
        self.expected["rounding"] = Decimal(0)
        made = {}
        for account in ("openai", "anthropic"):
            usage, costs = self._usage(account), list(self._costs(account, form))
            write = {"json": _as_json, "csv": _as_csv}[form]
            made[account, "usage"], made[account, "cost"] = write(account, usage, costs)
        exact = sum((_usd(s.model, c, n) for s in self.spans for c, n in _counts(_known(s))), Decimal(0))
        ours = sum(s.cost_nanousd or 0 for s in self.spans)
        self.expected["rounding"] -= Decimal(ours).scaleb(-9) - exact
        return made

    def _usage(self, account: str) -> dict[tuple[date, str, str], dict[str, int]]:
        found: dict[tuple[date, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for call in self.calls:
            if PROVIDERS[call.model] == account:
                sums = found[call.billed_day, DATED[call.model], call.key]
                sums["requests"] += 1
                for name, count in call.billed.items():
                    sums[name] += count
        return dict(sorted(found.items()))

    def _costs(self, account: str, form: str) -> Iterator[tuple[date, str, str, Decimal]]:
        """Lines by day, model and class: what they are rounded by is part of what is planted."""
        sums: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
        for call in self.calls:
            if PROVIDERS[call.model] == account:
                for name, count in call.billed.items():
                    if count:
                        sums[call.billed_day, call.model, name] += _usd(call.model, name, count, call.billed_day.day)
        for (day, model, name), usd in sorted(sums.items()):
            billed = usd if (account, form) == ("openai", "json") else usd.quantize(CENT, ROUND_HALF_UP)
            self.expected["rounding"] += billed - usd
            yield day, DATED[model], name, billed


def plant(month: date = MONTH, tenant_ids: tuple[int, ...] = (1, 2)) -> Planted:
    """The month with its faults, for some tenants in turn. The same each time."""
    random, book, made = Random(20261001), PriceBook(), Planted(month)
    after = (month.replace(day=28) + timedelta(days=4)).replace(day=1)
    for n in range((after - month).days):
        day = month + timedelta(days=n)
        for model in (SONNET, GPT, MINI):
            for hour in range(0, 24, 2):
                at = datetime(
                    day.year, day.month, day.day, hour, random.randrange(60), random.randrange(60), tzinfo=UTC
                )
                usage = _usage_of(model, random)
                _plant_call(made, random, book, at, model, usage, tenant_ids[hour // 2 % len(tenant_ids)])
        if day.day in OUTSIDE_DAYS:
            _plant_outside(made, random, day)
    return made


def _usage_of(model: str, random: Random) -> Usage:
    cached = random.randrange(20_000, 90_000)
    output = random.randrange(4_000, 12_000)
    if model == SONNET:
        return Usage(random.randrange(20_001, 60_000), cached, random.randrange(10_000, 40_000), 0, output)
    return Usage(random.randrange(20_001, 60_000), cached, 0, 0, output)


def _plant_call(
    made: Planted, random: Random, book: PriceBook, at: datetime, model: str, usage: Usage, tenant_id: int
) -> None:
    counts = dict(zip(CLASSES, (getattr(usage, name) for name in CLASSES), strict=True))
    day, billed, was_cut = at.date(), dict(counts), False
    if model == MINI and day.day == CUT_DAY and at.hour in (6, 10, 14):
        was_cut, missing = True, 1_000 + at.hour
        billed["output"] += missing
        made.expected["tokens"] += _usd(model, "output", missing)
    if model == SONNET and day.day == CLASS_DAY:
        written = billed["cache_write_5m"]
        billed |= {"uncached_input": billed["uncached_input"] + written, "cache_write_5m": 0}
        made.expected["class"] += _usd(model, "uncached_input", written) - _usd(model, "cache_write_5m", written)
    billed_day = day
    if model == SONNET and day.day == ZONE_DAY and at.hour >= 24 - ZONE_HOURS:
        billed_day = day + timedelta(days=1)
        made.expected["time_zone"] += 0  # a surplus on one day, as large a deficit on the other
    if model == SONNET and billed_day.day >= CHANGE_DAY:
        made.expected["price"] += _usd(model, "output", billed["output"], 16) - _usd(model, "output", billed["output"])
    made.calls.append(Call(at, model, GATEWAY_KEYS[PROVIDERS[model]], counts, billed_day, billed))
    made.spans.append(_span(made, random, book, at, model, usage, tenant_id, was_cut))


def _plant_outside(made: Planted, random: Random, day: date) -> None:
    for hour in (9, 11, 15):
        counts = {"uncached_input": 30_000 + hour, "cache_read": 0, "output": 2_500}
        at = datetime(day.year, day.month, day.day, hour, 30, tzinfo=UTC)
        made.calls.append(Call(at, GPT, STRANGER, counts, day, counts))
        made.expected["outside"] += sum((_usd(GPT, name, count) for name, count in counts.items()), Decimal(0))


def _span(
    made: Planted,
    random: Random,
    book: PriceBook,
    at: datetime,
    model: str,
    usage: Usage,
    tenant_id: int,
    was_cut: bool,
) -> Span:
    at_ns = ns_from_utc(at)
    price = book.price(tenant_id, PROVIDERS[model], model, at_ns)
    assert price is not None
    made.prices[price.version] = price
    return Span(
        tenant_id=tenant_id,
        trace_id=random.randbytes(16),
        span_id=random.randbytes(8),
        parent_span_id=None,
        start_ns=at_ns,
        duration_ns=2_000_000_000,
        name=f"chat {model}",
        source=SOURCE_GATEWAY,
        attribution=Attribution("shop-api", "production", "support", f"u_{random.randrange(40)}", "", 0),
        is_call=True,
        operation_name=CHAT,
        status="cut_off" if was_cut else "ok",
        provider_name=PROVIDERS[model],
        request_model=model,
        response_model=DATED[model],
        response_id=random.randbytes(8).hex(),
        usage=usage,
        is_estimated=was_cut,
        is_stream=True,
        cost_nanousd=cost(usage, price),
        price_version=price.version,
    )


def commit_planted(conn: "psycopg.Connection[Any]", made: Planted) -> None:
    """Through `commit_batch`, as the writer does."""
    for start in range(0, len(made.spans), 1_000):
        batch = Batch(spans=made.spans[start : start + 1_000], prices=list(made.prices.values()))
        commit_batch(conn, batch, definition.load(conn))


def _usd(model: str, name: str, count: int, day: int = 1) -> Decimal:
    rate = NEW_OUTPUT_USD if (model, name) == (SONNET, "output") and day >= CHANGE_DAY else USD[model][name]
    return rate * count / 1_000_000


def _known(span: Span) -> Usage:
    assert span.usage is not None
    return span.usage


def _counts(usage: Usage) -> Iterator[tuple[str, int]]:
    for name in CLASSES:
        yield name, getattr(usage, name)


Costs = list[tuple[date, str, str, Decimal]]
UsageSums = dict[tuple[date, str, str], dict[str, int]]
LINES = {"uncached_input": "input", "cache_read": "cached input", "output": "output"}
TOKEN_TYPES = {
    "uncached_input": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "output": "output_tokens",
}


def _as_json(account: str, usage: UsageSums, costs: Costs) -> tuple[str, str]:
    """As the APIs answer, a page of a fortnight each."""
    days = sorted({key[0] for key in usage})
    bucket = {"openai": _openai_bucket, "anthropic": _anthropic_bucket}[account]
    written = []
    for kind in ("usage", "cost"):
        buckets = [bucket(kind, day, usage, costs) for day in days]
        pages = [{"object": "page", "data": buckets[:14], "has_more": True, "next_page": "page_2"}]
        pages.append({"object": "page", "data": buckets[14:], "has_more": False, "next_page": None})
        written.append(json.dumps(pages))
    return written[0], written[1]


def _openai_bucket(kind: str, day: date, usage: UsageSums, costs: Costs) -> dict[str, Any]:
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    results: list[dict[str, Any]] = []
    if kind == "usage":
        for (at, model, key), sums in usage.items():
            if at == day:
                results.append({
                    "object": "organization.usage.completions.result", "model": model, "api_key_id": key,
                    "input_tokens": sums["uncached_input"] + sums["cache_read"],
                    "input_cached_tokens": sums["cache_read"], "output_tokens": sums["output"],
                    "input_audio_tokens": 0, "output_audio_tokens": 0, "num_model_requests": sums["requests"],
                    "project_id": "proj_a", "user_id": None, "batch": False, "service_tier": "default",
                })  # fmt: skip
    else:
        for at, model, name, usd in costs:
            if at == day:
                results.append({
                    "object": "organization.costs.result", "line_item": f"{model}, {LINES[name]}",
                    "amount": {"value": float(usd), "currency": "usd"}, "project_id": "proj_a",
                })  # fmt: skip
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": results}


def _anthropic_bucket(kind: str, day: date, usage: UsageSums, costs: Costs) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    if kind == "usage":
        for (at, model, key), sums in usage.items():
            if at == day:
                results.append({
                    "uncached_input_tokens": sums["uncached_input"], "cache_read_input_tokens": sums["cache_read"],
                    "cache_creation": {"ephemeral_1h_input_tokens": 0,
                                       "ephemeral_5m_input_tokens": sums["cache_write_5m"]},
                    "output_tokens": sums["output"], "server_tool_use": {"web_search_requests": 0},
                    "api_key_id": key, "workspace_id": None, "model": model, "service_tier": "standard",
                    "context_window": "0-200k",
                })  # fmt: skip
    else:
        for at, model, name, usd in costs:
            if at == day:
                results.append({
                    "currency": "USD", "amount": f"{usd * 100:.2f}", "workspace_id": None, "cost_type": "tokens",
                    "description": f"{model} Usage - {TOKEN_TYPES[name]}", "context_window": "0-200k", "model": model,
                    "service_tier": "standard", "token_type": TOKEN_TYPES[name],
                })  # fmt: skip
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z", "results": results}


def _as_csv(account: str, usage: UsageSums, costs: Costs) -> tuple[str, str]:
    """As the consoles export."""
    if account == "openai":
        used = [
            (f"{at}T00:00:00+00:00", "proj_a", s["requests"], key, model, "false",
             s["uncached_input"] + s["cache_read"], s["output"], s["cache_read"])
            for (at, model, key), s in usage.items()
        ]  # fmt: skip
        head = "start_time_iso,project_id,num_model_requests,api_key_id,model,batch,input_tokens,output_tokens,"
        billed = [(f"{at}T00:00:00+00:00", usd, "usd", f"{model}, {LINES[name]}") for at, model, name, usd in costs]
        return (
            _table(head + "input_cached_tokens", used),
            _table("start_time_iso,amount_value,amount_currency,line_item", billed),
        )
    used_here = [
        (at, model, key, "Default", "standard", "≤ 200k", s["uncached_input"], s["cache_write_5m"], 0, s["cache_read"],
         s["output"], 0)
        for (at, model, key), s in usage.items()
    ]  # fmt: skip
    head = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count"
    )
    types = {"uncached_input": "input_no_cache", "cache_read": "input_cache_read"}
    types |= {"cache_write_5m": "input_cache_write_5m", "output": "output"}
    billed_here = [(at, model, "Default", "standard", types[name], usd, "token") for at, model, name, usd in costs]
    types_head = "usage_date_utc,model,workspace,usage_type,token_type,cost_usd,cost_type"
    return _table(head, used_here), _table(types_head, billed_here)


def _table(head: str, lines: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head.split(","))
    writer.writerows(lines)
    return text.getvalue()


def load(data: str) -> None:
    """Put the month before this one, with its reports, into the platform that runs on this folder."""
    import os

    os.environ["LLMOBS_DATA"] = data
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmobs.settings")
    import django

    django.setup()
    from django.utils import timezone

    from llmobs.core.env import Place
    from llmobs.reconcile.api import take_in
    from llmobs.reconcile.models import Account
    from llmobs.reconcile.tasks import reconcile_one
    from llmobs.tenants.models import Tenant

    tenants = [Tenant.objects.get_or_create(slug=f"planted-{n}", defaults={"name": f"Planted {n}"})[0] for n in (1, 2)]
    month = (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)
    made = plant(month, tuple(tenant.pk for tenant in tenants))
    with psycopg.connect(Place.from_env().connections().database_url, autocommit=True) as conn:
        commit_planted(conn, made)
    for (account, kind), text in made.reports("json").items():
        take_in(account, text.encode(), f"planted {kind}.json", "planted month")
        Account.objects.filter(name=account).update(keys={GATEWAY_KEYS[account]: account})
    while reconcile_one(timezone.now()):
        pass
    print(f"/reconcile/?month={month:%Y-%m}")
    for name, usd in made.expected.items():
        print(f"  {name}: {usd}")


if __name__ == "__main__":
    from argparse import ArgumentParser

    parser = ArgumentParser(description="Load the planted month into a running platform.")
    parser.add_argument("--data", default="var")
    load(parser.parse_args().data)
