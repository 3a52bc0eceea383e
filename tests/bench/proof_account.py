"""The proof's account: once all is written, our bills against the provider's own and against the budgets' spend."""

import json
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import redis

from llmobs.budgets import ledger
from llmobs.budgets.definition import load
from llmobs.budgets.taken import billed_by_value
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from llmobs.core.money import parse_usd

MOST_TOLD = 20  # failures of one kind that are told in full
_TOKENS = (
    "sum(uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens + cache_write_1h_input_tokens)"
)
_BILLS = f"""
SELECT response_id, sum(requests), {_TOKENS}, sum(output_tokens), sum(cost_nanousd), bool_and(kind = 'measured')
FROM bill WHERE response_id <> '' GROUP BY response_id
"""
_WITHOUT_ID = """
SELECT model, cost_nanousd, kind, held_nanousd FROM bill WHERE response_id = ''
"""
_SPENT = "SELECT value, window_start, spent FROM budget_spend WHERE budget_id = %s AND revision = %s"


@dataclass
class Findings:
    """Figures by name, and whatever is not as promised."""

    figures: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def expect(self, is_so: bool, promise: str, told: object) -> None:
        if not is_so:
            self.failures[promise].append(str(told))

    def __str__(self) -> str:
        lines = [f"  {name}: {value}" for name, value in self.figures.items()]
        for promise, told in self.failures.items():
            lines += [f"  BROKEN: {promise} ({len(told)} times)", *(f"    {each}" for each in told[:MOST_TOLD])]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Said:
    """What a caller got."""

    at: float
    seconds: float
    response_id: str = ""
    cost_usd: str = ""
    attempts: str = ""
    status: int = 0
    reason: str = ""
    broken: str = ""


def said(file: Path) -> list[Said]:
    """The callers' own account."""
    found = []
    for line in file.read_text().splitlines():
        row = json.loads(line)
        found.append(msgspec.convert(row, Said))
    return found


def providers_bill(url: str) -> dict[str, dict[str, Any]]:
    """The simulator's line of each response."""
    with urllib.request.urlopen(f"{url}/bill?detail=1", timeout=60) as answer:
        bill = json.load(answer)
    responses: dict[str, dict[str, Any]] = bill["responses"]
    if len(responses) != bill["requests"]:
        raise SystemExit(
            f"the simulator keeps {len(responses)} of its {bill['requests']} lines: run for a shorter time"
        )
    return responses


def compare(
    conn: psycopg.Connection[Any], calls: list[Said], theirs: dict[str, dict[str, Any]], found: Findings
) -> None:
    """Every answer as the provider billed it; the rest flagged, and never below."""
    ours = {row[0]: tuple(row[1:]) for row in conn.execute(_BILLS).fetchall()}
    answered = [call for call in calls if call.response_id]
    for call in answered:
        _as_billed(call, ours.get(call.response_id), theirs[call.response_id], found)
    estimated = 0
    for response_id, sent in theirs.items():
        if response_id in ours:
            requests, _, _, cost, is_measured = ours[response_id]
            estimated += not is_measured
            due = parse_usd(sent["cost_usd"])
            found.expect(requests == 1, "each response has one bill", (response_id, requests))
            is_enough = cost == due if is_measured else cost >= due
            found.expect(is_enough, "no bill is below the provider's", (response_id, sent, ours[response_id]))
    found.expect(ours.keys() <= theirs.keys(), "no bill is of an answer that nobody gave", ours.keys() - theirs.keys())
    _without_id(conn, {i: sent for i, sent in theirs.items() if i not in ours}, found)
    found.figures |= {"answered calls, each billed as the provider did": len(answered), "cut off, estimated": estimated}


def _as_billed(call: Said, bill: tuple[Any, ...] | None, sent: dict[str, Any], found: Findings) -> None:
    cost = parse_usd(sent["cost_usd"])
    due = (1, sent["input_tokens"], sent["output_tokens"], cost, True)
    found.expect(bill == due, "an answered call is billed as the provider billed it", (call.response_id, bill, due))
    if call.cost_usd and call.attempts == "1":
        found.expect(parse_usd(call.cost_usd) == cost, "the header tells the cost", (call, cost))


def _without_id(conn: psycopg.Connection[Any], unmatched: dict[str, dict[str, Any]], found: Findings) -> None:
    """Responses that no bill names are within the bills that name none: largest by largest, model by model."""
    bills: dict[str, list[int]] = defaultdict(list)
    kinds: dict[str, int] = defaultdict(int)
    for model, cost, kind, held in conn.execute(_WITHOUT_ID).fetchall():
        bills[model].append(cost)
        kinds[kind] += 1
        found.expect(kind in ("estimated", "abandoned"), "what was cut off is flagged", (model, kind, cost))
        found.expect(kind != "abandoned" or cost == held, "abandoned is billed at the hold", (model, cost, held))
    sent: dict[str, list[int]] = defaultdict(list)
    for line in unmatched.values():
        sent[line["model"]].append(parse_usd(line["cost_usd"]))
    for model, costs in sent.items():
        ours = sorted(bills[model], reverse=True)
        found.expect(
            len(costs) <= len(ours), "each answer is billed", f"{model}: {len(costs)} sent, {len(ours)} billed"
        )
        for theirs, mine in zip(sorted(costs, reverse=True), ours, strict=False):
            found.expect(mine >= theirs, "what was cut off is never below the provider's", (model, mine, theirs))
    found.figures |= {f"{kind}, without a response id": count for kind, count in sorted(kinds.items())}


def sums(conn: psycopg.Connection[Any], client: redis.Redis, found: Findings) -> None:
    """Spent = Σ bills, in PostgreSQL and in the ledger, of every budget and value; nothing held or pending."""
    compared = 0
    for budget in load(conn).infos:
        for value, window_start, spent in conn.execute(_SPENT, (budget.id, budget.revision)).fetchall():
            starts_s = ns_from_utc(window_start) // NS_PER_SECOND
            key = ledger.budget_key(budget.tenant_id, budget.id, budget.revision, starts_s, value)
            row = [int(each or 0) for each in client.hmget(key, "base", "pending", "held")]
            found.expect(row == [spent, 0, 0], "the ledger has what PostgreSQL has", (budget.name, value, row, spent))
            compared += 1
        billed = billed_by_value(conn, budget, 0, 2**33)
        kept = conn.execute(f"SELECT value, sum(spent) FROM ({_SPENT}) s GROUP BY value", (budget.id, budget.revision))
        by_value = {value: int(spent) for value, spent in kept.fetchall() if spent}
        found.expect(
            by_value == billed, "spent is the sum of bills", (budget.name, set(by_value.items()) ^ set(billed.items()))
        )
    left = 0
    for key in client.scan_iter("ledger:{*", count=1000):
        if ledger.key_parts(key.decode()) is not None:
            left += len(ledger.parse_live(client.hgetall(key)))
    found.expect(left == 0, "no attempt is left in the ledger", left)
    found.figures["sums of budgets compared"] = compared
