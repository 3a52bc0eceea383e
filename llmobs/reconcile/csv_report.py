"""Usage and costs as CSV: the exports of OpenAI's and Anthropic's consoles, and invoices with the same columns.

Columns are known by name and alias, whatever their order; one that is not known is an error that names it, since a
column that nobody reads may hold tokens or money.
"""

import csv
import io
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from llmobs.reconcile import fields, names, openai_report, rows
from llmobs.reconcile.rows import COST, USAGE, Parsed, ReportError, Row

MOST_LINE = 1_000_000
MOST_DIGITS = 18

# By our name the names that a column may have. What is told in another column too, or is of no matter here, is IGNORED.
OPENAI_USAGE = {
    "start": ("start_time", "start_time_iso", "date", "day"),
    "model": ("model",),
    "key": ("api_key_id", "api_key"),
    "workspace": ("project_id", "project"),
    "batch": ("batch",),
    "tier": ("service_tier",),
    "num_model_requests": ("num_model_requests", "requests"),
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "input_cached_tokens": ("input_cached_tokens", "cached_input_tokens"),
    "input_cache_write_tokens": ("input_cache_write_tokens",),
    "input_audio_tokens": ("input_audio_tokens",),
    "input_cached_audio_tokens": ("input_cached_audio_tokens",),
    "output_audio_tokens": ("output_audio_tokens",),
}
OPENAI_COST = {
    "start": ("start_time", "start_time_iso", "date", "day"),
    "line": ("line_item", "description"),
    "amount": ("amount_value", "amount", "cost_usd", "amount_usd"),
    "currency": ("amount_currency", "currency"),
    "quantity": ("quantity",),
    "key": ("api_key_id", "api_key"),
    "workspace": ("project_id", "project"),
}
ANTHROPIC_USAGE = {
    "start": ("usage_date_utc", "date", "day"),
    "model": ("model_version", "model"),
    "key": ("api_key", "api_key_id"),
    "workspace": ("workspace", "workspace_id"),
    "tier": ("usage_type", "service_tier"),
    rows.UNCACHED: ("usage_input_tokens_no_cache", "uncached_input_tokens"),
    rows.CACHE_READ: ("usage_input_tokens_cache_read", "cache_read_input_tokens"),
    rows.WRITE_5M: ("usage_input_tokens_cache_write_5m", "cache_creation_5m_input_tokens"),
    rows.WRITE_1H: ("usage_input_tokens_cache_write_1h", "cache_creation_1h_input_tokens"),
    rows.OUTPUT: ("usage_output_tokens", "output_tokens"),
    rows.WEB_SEARCH: ("web_search_count", "web_search_requests"),
}
ANTHROPIC_COST = {
    "start": ("usage_date_utc", "date", "day"),
    "model": ("model", "model_version"),
    "key": ("api_key", "api_key_id"),
    "workspace": ("workspace", "workspace_id"),
    "tier": ("usage_type", "service_tier"),
    "token_type": ("token_type",),
    "cost_type": ("cost_type",),
    "line": ("description", "line_item"),
    "amount": ("cost_usd", "amount_usd"),
    "currency": ("currency",),
}
IGNORED = (
    "end_time", "end_time_iso", "user_id", "user_email", "project_name", "organization_id", "organization_name",
    "quantity_unit", "api_source", "input_uncached_tokens", "input_text_tokens", "output_text_tokens",
    "input_cached_text_tokens", "input_image_tokens", "input_cached_image_tokens", "output_image_tokens",
    "context_window", "inference_geo", "speed", "list_price_usd",
)  # fmt: skip
# (account's kind, report's kind, columns, those without which it is none)
FORMS: tuple[tuple[str, str, dict[str, tuple[str, ...]], tuple[str, ...]], ...] = (
    ("anthropic", COST, ANTHROPIC_COST, ("start", "amount", "token_type")),
    ("openai", COST, OPENAI_COST, ("start", "amount", "line")),
    ("anthropic", USAGE, ANTHROPIC_USAGE, ("start", "model", rows.UNCACHED, rows.OUTPUT)),
    ("openai", USAGE, OPENAI_USAGE, ("start", "model", "input_tokens", "output_tokens")),
)


def parse(text: str) -> Parsed:
    """The CSV as the form whose columns it has. Raises ReportError that names line or column."""
    csv.field_size_limit(MOST_LINE)
    dialect = "excel-tab" if "\t" in text.partition("\n")[0] else "excel"
    try:
        lines = list(csv.DictReader(io.StringIO(text.replace("\x00", ""), newline=""), dialect=dialect, strict=True))
    except csv.Error as error:
        raise ReportError(f"The report is no CSV: {error}") from None
    if not lines:
        raise ReportError("The CSV has a head and no line, or not even that.")
    header = [(name or "").strip().lower() for name in lines[0]]
    account_kind, kind, columns = _form(header)
    found = Parsed(account_kind, kind, f"{_TITLES[account_kind]} {kind}, CSV")
    for number, line in enumerate(lines, 2):
        if None in line or None in line.values():
            raise ReportError(f"Line {number} has more or fewer fields than the head.")
        given = {(name or "").strip().lower(): str(value).strip() for name, value in line.items()}
        told = {
            ours: next((given[name] for name in aliases if given.get(name)), "") for ours, aliases in columns.items()
        }
        try:
            _add(found, told)
        except ReportError as error:
            raise ReportError(f"Line {number}: {error}") from None
    return found


def _first(given: Mapping[str, str], aliases: tuple[str, ...]) -> str:
    return next((given[name] for name in aliases if given.get(name)), "")


_TITLES = {"openai": "OpenAI", "anthropic": "Anthropic"}


def _form(header: list[str]) -> tuple[str, str, dict[str, tuple[str, ...]]]:
    for account_kind, kind, columns, needed in FORMS:
        if all(any(alias in header for alias in columns[name]) for name in needed):
            known = {alias for aliases in columns.values() for alias in aliases} | set(IGNORED)
            if unknown := [name for name in header if name not in known]:
                raise ReportError(
                    f"The column {unknown[0]!r} is not known in {_TITLES[account_kind]}'s {kind} report; known are "
                    f"{', '.join(sorted(known))}. Leave it out if it holds neither tokens nor money."
                )
            return account_kind, kind, columns
    wanted = "; ".join(
        f"{_TITLES[account_kind]} {kind}: " + ", ".join(columns[name][0] for name in needed)
        for account_kind, kind, columns, needed in FORMS
    )
    raise ReportError(
        f"The columns ({', '.join(header)[:300]}) are of no report that is known. Needed are, of {wanted}."
    )


_COUNTS = frozenset({*rows.CLASSES, *(name for name in OPENAI_USAGE if name.endswith("_tokens"))})


def _add(found: Parsed, told: Mapping[str, str]) -> None:
    day = _day(told["start"])
    found.days.add(day)
    where: dict[str, Any] = {"key": told["key"], "workspace": told["workspace"]}
    if found.kind == COST:
        if not told["amount"]:  # OpenAI's export has a line without anything for a day without costs
            return
        fields.currency(told["currency"])
        found.rows.append(_openai_cost(day, told, where) if found.account_kind == "openai" else _cost(day, told, where))
        return
    if not told["model"] and not any(
        _int(told, name) for name in told if name.endswith("_tokens") or name in rows.CLASSES
    ):
        return
    where |= {"model": told["model"], "tier": names.tier_of(told.get("batch", ""), told["tier"])}
    if found.account_kind == "openai":
        counted = {name: _int(told, name) for name in told if name.endswith("_tokens") or name == "num_model_requests"}
        found.rows += openai_report.usage_rows(day, counted, where)
    else:
        counts = {name: _int(told, name) for name in rows.CLASSES if name in told}
        found.rows += [Row(day, token_class=name, quantity=n, **where) for name, n in counts.items() if n]


def _openai_cost(day: date, told: Mapping[str, str], where: dict[str, Any]) -> Row:
    text = told["quantity"]
    quantity = int(Decimal(text)) if text.replace(".", "", 1).isdecimal() and len(text) <= MOST_DIGITS else None
    return openai_report.cost_row(day, told["line"], _money(told["amount"]), where, quantity)


def _cost(day: date, told: Mapping[str, str], where: dict[str, Any]) -> Row:
    given = told["token_type"].lower()
    if given and given not in names.TOKEN_TYPES:
        raise ReportError(f"token_type is {given!r}; known are {', '.join(names.TOKEN_TYPES)}.")
    tool = rows.WEB_SEARCH if "web_search" in told["cost_type"].lower() else rows.OTHER
    return Row(
        day,
        model=told["model"],
        tier=names.tier_of(told["tier"]),
        token_class=names.TOKEN_TYPES[given] if given else tool,
        amount=rows.nanousd(fields.amount(_money(told["amount"]), "cost_usd")),
        line_item=told["line"] or told["cost_type"],
        **where,
    )


def _money(text: str) -> str:
    return text.replace("$", "").replace(",", "")


def _int(told: Mapping[str, Any], name: str) -> int:
    text = str(told.get(name, "")).replace(",", "").removesuffix(".0")
    if not text:
        return 0
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise ReportError(f"{name} is {text!r}, no count.")
    return int(text)


def _day(text: str) -> date:
    if text.isdecimal() and len(text) <= MOST_DIGITS:
        return fields.day(fields.seconds(int(text), "start_time").date())
    try:
        found = datetime.fromisoformat(text)
        day = (found if found.tzinfo is None else found.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        raise ReportError(f"{text[:60]!r} is no day such as 2026-11-01.") from None
    return fields.day(day)
