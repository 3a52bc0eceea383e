"""Rows for COPY that leave their values where they are: in spans, claims and bills, which the compiled module reads.

A short row is a tuple of an object and of what stands beside it; a plan says where each column is. `copying` has the
same rows in full, which are packed instead where nothing was compiled, and of what is unusual in an object.
"""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from typing import Any

from llmobs.ingest import compiled
from llmobs.ingest.copying import (
    BILL,
    CLAIM,
    ROWS_AT_ONCE,
    SPAN,
    Packed,
    Row,
    Rows,
    bill_row,
    claim_row,
    clean_text,
    kinds_of,
    span_row,
)
from llmobs.ingest.count_once import ClaimInfo
from llmobs.pricing.usage import Usage
from llmobs.spans.bill import Bill
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

Path = tuple[Any, ...]

_WHO = ("service", "environment", "feature", "user_id", "session_id", "key_id")

_compiled = compiled.loaded()


def pack_spans(rows: Iterable[Row]) -> Rows:
    """Made ready for `copy_spans`, before a lock that others wait for; rows of `short_span_row` too."""
    return _pack(SPAN, rows, _span_plan)


def pack_claims(rows: Iterable[Row]) -> Rows:
    """The same for `copy_claims`; rows of `short_claim_row` too."""
    return _pack(CLAIM, rows, _claim_plan)


def pack_bills(rows: Iterable[Row]) -> Rows:
    """The same for `copy_bills`; rows of `short_bill_row` too."""
    return _pack(BILL, rows, _bill_plan)


def short_span_row(
    span: Span, is_counted: bool, preview: str, place: tuple[int, int] | None, detail: tuple[int, int] | None
) -> Row:
    """For `pack_spans`: what `span_row` says, most of it left where it is."""
    usage = span.usage
    if _compiled is None or detail is None or (usage is not None and (usage.units or usage.tier)):
        return span_row(span, is_counted, preview, place, detail)
    block_id, slot = place or (None, None)
    cost = span.cost_nanousd if is_counted else None
    return (span, is_counted, cost, clean_text(preview), block_id, slot, *detail, None, "")


def short_claim_row(tenant_id: int, claim: ClaimInfo, is_counted: bool, bill_id: int | None) -> Row:
    """For `pack_claims`: what `claim_row` says, most of it left where it is."""
    if _compiled is None:
        return claim_row(tenant_id, claim, is_counted, bill_id)
    return (claim, tenant_id, *(claim.usage or (None, None)), is_counted, bill_id)


def short_bill_row(bill: Bill, budget_ids: list[int]) -> Row:
    """For `pack_bills`: what `bill_row` says, most of it left where it is."""
    if _compiled is None or bill.usage.units:
        return bill_row(bill, budget_ids)
    return (bill, " ".join(map(str, budget_ids)) or None, None)


def _pack(columns: dict[str, str], rows: Iterable[Row], plan: Callable[[], object]) -> Rows:
    if _compiled is None:
        return list(rows)
    by_plan, of, rest = _compiled.packed_by, plan(), iter(rows)
    packed = Packed()
    while some := list(islice(rest, ROWS_AT_ONCE)):
        packed.append(by_plan(of, some))
    return packed


def _plan(columns: dict[str, str], places: dict[str, Path], width: int) -> object:
    """For the compiled module: where in a short row each column is. A path begins with the place in that row."""
    assert _compiled is not None
    return _compiled.row_plan(kinds_of(columns), tuple(places[name] for name in columns), width)


def _of(place: int, of_type: type, columns: Iterable[str], *above: tuple[type, str]) -> dict[str, Path]:
    """Columns that are named as the members that they are."""
    return {name: (False, (place, *above, (of_type, name))) for name in columns}


@cache
def _span_plan() -> object:
    def tokens(*names: str, is_null_where_none: bool = True) -> Path:
        return (is_null_where_none, *((0, (Span, "usage"), (Usage, name)) for name in names))

    null, empty = (False, (8,)), (False, (9,))
    given = ("is_counted", "cost_nanousd", "preview", "block_id", "block_slot", "detail_id", "detail_slot")
    places = {
        **_of(0, Span, (name for name in Span.__slots__ if name in SPAN)),
        **_of(0, Attribution, _WHO, (Span, "attribution")),
        **{name: (False, (place,)) for place, name in enumerate(given, start=1)},
        "start": (False, (0, (Span, "start_ns"))),
        "input_tokens": tokens(
            "uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", is_null_where_none=False
        ),
        "output_tokens": tokens("output", is_null_where_none=False),
        "cache_read_input_tokens": tokens("cache_read"),
        "cache_creation_input_tokens": tokens("cache_write_5m", "cache_write_1h"),
        "cache_creation_1h_input_tokens": tokens("cache_write_1h"),
        "reasoning_output_tokens": tokens("reasoning"),
        "held_nanousd": (True, (0, (Span, "held_nanousd"))),
        "adapter": (True, (0, (Span, "adapter"))),
        "finish_reasons": null,
        "attributes": null,
        "price_version": empty,
        "scope_name": empty,
    }
    return _plan(SPAN, places, 10)


@cache
def _claim_plan() -> object:
    own = ("trace_id", "span_id", "parent_span_id", "source", "scope_name", "yields", "response_id")
    given = ("tenant_id", "input_tokens", "output_tokens", "is_counted", "bill_id")
    places = {
        **_of(0, ClaimInfo, own),
        **{name: (False, (place,)) for place, name in enumerate(given, start=1)},
        "start": (False, (0, (ClaimInfo, "start_ns"))),
        "finish": (False, (0, (ClaimInfo, "end_ns"))),
    }
    return _plan(CLAIM, places, 6)


@cache
def _bill_plan() -> object:
    tokens = {
        "uncached_input_tokens": "uncached_input", "cache_read_input_tokens": "cache_read",
        "cache_write_5m_input_tokens": "cache_write_5m", "cache_write_1h_input_tokens": "cache_write_1h",
        "output_tokens": "output", "reasoning_output_tokens": "reasoning", "tier": "tier",
    }  # fmt: skip
    places = {
        **_of(0, Bill, (name for name in Bill.__struct_fields__ if name in BILL)),
        **_of(0, Attribution, _WHO, (Bill, "attribution")),
        **{column: (False, (0, (Bill, "usage"), (Usage, name))) for column, name in tokens.items()},
        "begin_at": (False, (0, (Bill, "begin_ns"))),
        "budgets": (False, (1,)),
        "units": (False, (2,)),
    }
    return _plan(BILL, places, 3)
