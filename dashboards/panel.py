"""What the panel says of a selected span: its messages, how its cost comes about, its attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dashboards.queries.costs import KINDS, price_versions
from dashboards.queries.scope import Cursor
from dashboards.queries.trace import BillRow, bills_of, budget_names
from dashboards.queries.traces import TraceRow
from dashboards.tree import HEDGED, Node
from llmobs.ingest.otlp.adapters import spelled
from llmobs.pricing.cost import cost, summands
from llmobs.pricing.price import TOKENS_PER_RATE, Price

TABS = ("messages", "cost", "attempts", "attributes", "raw")
KIND_WORDS = {
    "uncached_input": "uncached input",
    "cache_read": "cache read",
    "cache_write_5m": "cache write, 5 min",
    "cache_write_1h": "cache write, 1 h",
    "output": "output",
    "reasoning": "reasoning",
    "audio_input": "sound, input",
    "audio_cache_read": "sound, cache read",
    "audio_output": "sound, output",
    "image_input": "pictures, input",
    "image_cache_read": "pictures, cache read",
    "image_output": "pictures, output",
    "video_input": "video, input",
    "video_cache_read": "video, cache read",
    "video_output": "video, output",
    "web_search": "web searches",
    "file_search": "file searches",
    "code_interpreter": "code sessions",
    "requests": "requests",
    "other": "rounding, tiers, corrections",
}
MOST_CHARACTERS = 12_000  # of one message on a page; the rest is in the REST API
MOST_MESSAGES = 60
MOST_BILLED = 12  # calls below a span whose bills are told


@dataclass(frozen=True)
class Message:
    """A message as read: a role and texts, each with what kind of part it is ("" for plain text)."""

    role: str
    parts: list[tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """Tokens × price = amount. `rate_nanousd` is per million tokens."""

    kind: str
    tokens: int
    rate_nanousd: int
    amount_nanousd: int


@dataclass(frozen=True)
class Charge:
    """One bill, with the lines that explain it; none where its price version is not kept."""

    title: str
    bill: BillRow
    lines: list[Line]
    is_reproduced: bool


@dataclass(frozen=True)
class CostTold:
    """The bills of a call, or of the calls below a span."""

    charges: list[Charge]
    total_nanousd: int | None
    is_estimated: bool
    held_nanousd: int
    budgets: list[str]
    versions: list[str]
    more: int
    stated_nanousd: int | None = None  # by the providers themselves; None where any of the calls says nothing

    @property
    def apart_nanousd(self) -> int | None:
        """How much more the providers state than we bill."""
        if self.stated_nanousd is None or self.total_nanousd is None:
            return None
        return self.stated_nanousd - self.total_nanousd

    @property
    def given_back_nanousd(self) -> int | None:
        """What was held and not needed; None where nothing was held."""
        if not self.held_nanousd or self.total_nanousd is None:
            return None
        return max(self.held_nanousd - self.total_nanousd, 0)


def cost_of(cursor: Cursor, found: TraceRow, node: Node) -> CostTold:
    """How the cost of a span comes about, attempt by attempt."""
    calls = _calls_below(node)
    bills = bills_of(cursor, found, [call.span.span_id for call in calls[:MOST_BILLED]])
    billed = [(call, bill) for call in calls[:MOST_BILLED] for bill in bills.get(call.span.span_id, ())]
    prices = price_versions(cursor, [bill.price_version for _, bill in billed])
    charges = [_charge(node, call, bill, prices.get(bill.price_version)) for call, bill in billed]
    known = [charge.bill.cost_nanousd for charge in charges if charge.bill.cost_nanousd is not None]
    return CostTold(
        charges=charges,
        total_nanousd=sum(known) if known or not charges else None,
        is_estimated=any(charge.bill.kind in ("estimated", "abandoned") for charge in charges),
        held_nanousd=sum(charge.bill.held_nanousd for charge in charges),
        budgets=budget_names(cursor, found.tenant_id, [i for charge in charges for i in charge.bill.budget_ids]),
        versions=list(dict.fromkeys(charge.bill.price_version for charge in charges if charge.bill.price_version)),
        more=max(len(calls) - MOST_BILLED, 0),
        stated_nanousd=_stated(calls),
    )


def _stated(calls: Sequence[Node]) -> int | None:
    said = [call.span.stated_cost_nanousd for call in calls]
    known = [nanousd for nanousd in said if nanousd is not None]
    return sum(known) if known and len(known) == len(said) else None


def messages_of(text: str | None) -> list[Message]:
    """The messages in a span's input or output; text that is no list of messages is one message."""
    if text is None:
        return []
    try:
        decoded = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return [Message("", [("", _cut(text))])]
    items = decoded if isinstance(decoded, list) else [decoded]
    return [_message(item) for item in items[:MOST_MESSAGES]]


def raw_of(node: Node) -> str:
    """The span as it is stored, without contents."""
    fields = {name: getattr(node.span, name) for name in node.span.__dataclass_fields__}
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()[: 4 * MOST_CHARACTERS]


def attributes_of(node: Node) -> list[tuple[str, str]]:
    """Attributes by name, as texts."""
    span = node.span
    typed = [
        ("gen_ai.operation.name", span.operation_name),
        ("gen_ai.provider.name", span.provider_name),
        ("gen_ai.request.model", span.request_model),
        ("gen_ai.response.model", span.response_model),
        ("gen_ai.response.id", span.response_id),
        ("gen_ai.response.finish_reasons", ", ".join(span.finish_reasons)),
        ("service.name", span.service),
        ("deployment.environment.name", span.environment),
        ("otel.scope.name", span.scope_name),
        ("llmobs.adapter", spelled(span.adapter or 0)),
    ]
    given = [(name, _cut(value if isinstance(value, str) else _json(value))) for name, value in span.attributes.items()]
    return [(name, value) for name, value in typed if value] + sorted(given)


def _calls_below(node: Node) -> list[Node]:
    """The span itself and the calls below it, in order, that may bear a bill."""
    found, waiting = [], [node]
    while waiting:
        each = waiting.pop()
        if each.span.is_call and each.span.is_counted:
            found.append(each)
        waiting.extend(reversed(each.children))
    return found


def _charge(node: Node, call: Node, bill: BillRow, price: Price | None) -> Charge:
    title = bill.model or call.span.name
    if call is not node and call.is_attempt:
        title = f"Attempt {call.number}, {title}"
    elif call is not node and call.siblings > 1:
        title = f"{call.position}. {title}"
    if call.span.error_type == HEDGED:
        title += ", not heard"
    if call.span.status not in ("ok", "degraded"):
        title += f", {call.span.status.replace('_', ' ')}"
    if bill.kind in ("reversal", "adjustment"):
        title += f", {bill.kind}: {bill.reason}"
    usage = bill.usage
    if price is None or bill.cost_nanousd is None:
        plain = usage.plain()
        lines = [Line(kind, getattr(plain, kind), 0, 0) for kind in KINDS if getattr(plain, kind)]
        return Charge(title, bill, lines, False)
    lines = [Line(kind, count, rate, count * rate // TOKENS_PER_RATE) for kind, count, rate in summands(usage, price)]
    return Charge(title, bill, lines, cost(usage, price) == bill.cost_nanousd)


def _message(item: Any) -> Message:
    if not isinstance(item, dict):
        return Message("", [("", _cut(item if isinstance(item, str) else _json(item)))])
    parts = item.get("parts", item.get("content", []))
    if not isinstance(parts, list):
        parts = [parts]
    return Message(str(item.get("role", "")), [_part(part) for part in parts if part not in (None, "")])


def _part(part: Any) -> tuple[str, str]:
    if isinstance(part, str):
        return "", _cut(part)
    if not isinstance(part, dict):
        return "", _cut(_json(part))
    kind = str(part.get("type", ""))
    for name in ("content", "text"):
        if kind in ("", "text", "reasoning") and isinstance(part.get(name), str):
            return ("" if kind == "text" else kind), _cut(part[name])
    rest: Sequence[tuple[str, Any]] = [(name, value) for name, value in part.items() if name != "type"]
    return kind.replace("_", " "), _cut(_json(dict(rest)))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}… ({len(text) - MOST_CHARACTERS:,} more characters)"
