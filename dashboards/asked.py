"""Which figure an address names, for pages and REST alike.

A window with filters, a prompt's version, a trace, a span, a bill, a budget's window or a part of it, a percentile, or
a forecast. Whoever asks says which tenants may be seen; what is another's is not there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from dashboards.live import budgets_now, ledger_client
from dashboards.queries import figure, foretold, timed
from dashboards.queries.costs import BILL_COLUMNS
from dashboards.queries.figure import METRICS, Figure
from dashboards.queries.foretold import Foretold
from dashboards.queries.prompts import prompts
from dashboards.queries.scope import Cursor, Filters, Scope
from dashboards.queries.timed import PERCENTILES, Timed
from llmobs.budgets.definition import BudgetInfo
from llmobs.budgets.status import status
from llmobs.core.clock import ns_from_utc

TRACE_ID, SPAN_ID = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{16}")
MOST_OTHERS = 200  # values of which one may ask for the others
MONTH = "month"


class NotThere(LookupError):
    """There is no such thing, or it is another tenant's."""


class Wrong(ValueError):
    """What was asked cannot be read, or not be explained; `name` is the parameter."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name = name


@dataclass(frozen=True)
class Asker:
    """Who asks, when, and in which window with which filters."""

    cursor: Cursor
    scope: Scope
    now: datetime
    zone: ZoneInfo


def figure_asked(asker: Asker, given: Mapping[str, str]) -> Figure | Timed | Foretold:
    """Raises NotThere and Wrong."""
    if given.get("budget"):
        return _budget(asker, given)
    if given.get("bill"):
        return _found(figure.of_bill(asker.cursor, asker.scope.tenant_ids, _number("bill", given["bill"])))
    if given.get("trace_id") or given.get("span_id"):
        return _trace(asker, given.get("trace_id", "").lower(), given.get("span_id", "").lower())
    if given.get("prompt"):
        return _prompt(asker, given)
    try:
        return _window(asker, given)
    except ValueError as error:
        raise error if isinstance(error, Wrong) else Wrong("metric", str(error)) from None


def _window(asker: Asker, given: Mapping[str, str]) -> Figure | Timed | Foretold:
    scope = replace(asker.scope, filters=_with_nameless(asker.scope.filters, given.get("none", "")))
    metric = given.get("metric") or "cost_usd"
    if given.get("forecast"):
        if given["forecast"] != MONTH:
            raise Wrong("forecast", f"{MONTH}, or any word beside a budget")
        return foretold.of_month(asker.cursor, scope, asker.now, asker.zone)
    if metric in PERCENTILES:
        return timed.of_percentile(asker.cursor, scope, metric)
    if metric not in METRICS:
        raise Wrong("metric", f"One of {', '.join((*METRICS, *PERCENTILES))}.")
    return figure.of_window(asker.cursor, scope, metric, _others(given))


def _with_nameless(filters: Filters, none: str) -> Filters:
    """With calls that name no feature, or whatever else is said."""
    names = [name for name in none.split(",") if name]
    if wrong := [name for name in names if name not in BILL_COLUMNS]:
        raise Wrong("none", f"{wrong[0]!r} is none of {', '.join(BILL_COLUMNS)}")
    empty: dict[str, str | int] = {name: 0 if name == "key" else "" for name in names}
    return Filters(**{**filters.given, **empty})  # type: ignore[arg-type]


def _others(given: Mapping[str, str]) -> dict[str, list[str | int]]:
    """By dimension the values whose others are meant, each a JSON list of texts."""
    found: dict[str, list[str | int]] = {}
    for name in BILL_COLUMNS:
        if text := given.get(f"not_{name}"):
            try:
                values = msgspec.json.decode(text, type=list[str])
                found[name] = [int(v) if name == "key" else v.replace("\x00", "") for v in values[:MOST_OTHERS]]
            except (msgspec.MsgspecError, ValueError):
                raise Wrong(f"not_{name}", "a JSON list of texts") from None
            if any(isinstance(value, int) and not 0 <= value < 2**63 for value in found[name]):
                raise Wrong(f"not_{name}", "a JSON list of the ids of keys")
    return found


def _trace(asker: Asker, trace_id: str, span_id: str) -> Figure:
    for name, text, pattern in (("trace_id", trace_id, TRACE_ID), ("span_id", span_id, SPAN_ID)):
        if not pattern.fullmatch(text) and (text or name == "trace_id"):
            raise Wrong(name, "hexadecimal digits, as traces have them")
    cursor, tenants = asker.cursor, asker.scope.tenant_ids
    if span_id:
        return _found(figure.of_span(cursor, tenants, trace_id, span_id))
    return _found(figure.of_trace(cursor, tenants, trace_id))


def _prompt(asker: Asker, given: Mapping[str, str]) -> Figure:
    number, version = _number("prompt", given["prompt"]), _number("version", given.get("version", ""))
    found = next((row for row in prompts(asker.cursor, asker.scope.tenant_ids) if row.id == number), None)
    if found is None or version not in found.numbers:
        raise NotThere("There is no such prompt or version.")
    return figure.of_prompt(found, version, asker.scope)


def _budget(asker: Asker, given: Mapping[str, str]) -> Figure | Foretold:
    info = budgets_now().get(_number("budget", given["budget"]))
    if info is None or info.tenant_id not in asker.scope.tenant_ids:
        raise NotThere("There is no such budget, or it is not active and nothing is counted in it.")
    value = given.get("value", "")
    if given.get("forecast"):
        if "\x00" in value:
            raise Wrong("value", "It is no value of this budget.")
        return foretold.of_budget(asker.cursor, info, asker.now, value, _spent(asker, info, value))
    if given.get("since") or given.get("until"):
        since, until = (_moment(name, given.get(name, ""), info.zone, asker.now) for name in ("since", "until"))
        if since > until:
            raise Wrong("since", "before `until`")
        return figure.of_stretch(asker.cursor, info, since, until)
    name = "at" if given.get("at") else "window"
    at = _moment(name, given.get(name, ""), info.zone, asker.now)
    try:
        return figure.of_budget(asker.cursor, info, at, value)
    except ValueError as error:
        raise Wrong("value", str(error)) from None


def _spent(asker: Asker, info: BudgetInfo, value: str) -> int | None:
    """What the budgets page says: with what is settled and not yet written."""
    standing = status(asker.cursor, ledger_client(), info, ns_from_utc(asker.now))
    return next((each.spent for each in standing.values if each.is_live and each.applied.value == value), None)


def _moment(name: str, text: str, zone: str, now: datetime) -> datetime:
    """A time; without an offset the budget's own, "" is now."""
    if not text:
        return now
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that was not encoded comes as a space
        at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
        found = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Wrong(name, "a time, as 2026-11-20T12:00Z") from None
    if not 1970 <= found.year < 9999:
        raise Wrong(name, "a time that anything can have been counted in")
    return found


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 19 or int(text) >= 2**63:
        raise Wrong(name, "a number, as ids are")
    return int(text)


def _found(found: Figure | None) -> Figure:
    if found is None:
        raise NotThere("There is no such trace, span or bill.")
    return found


def others_of(values: Sequence[str | int]) -> str:
    """Values as `not_…` takes them."""
    return msgspec.json.encode([str(value) for value in values]).decode()
