"""Rows that leave their values in their objects are packed to the same bytes as rows in full."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.ingest import compiled, short_rows
from llmobs.ingest.copying import BILL, CLAIM, SPAN, bill_row, claim_row, kinds_of, span_row
from llmobs.ingest.count_once import claim_of
from llmobs.ingest.short_rows import (
    pack_bills,
    pack_claims,
    pack_spans,
    short_bill_row,
    short_claim_row,
    short_span_row,
)
from llmobs.pricing.usage import Usage
from llmobs.spans.bill import bill_of, reversal_of
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import call

if compiled.loaded() is None:
    compiled.build()

COUNTS = st.sampled_from([0, 1, 7, 2**40])
TEXTS = st.sampled_from(["", "a", "é\U0001f600", "gpt-4o"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=9
)
IDS = st.none() | st.binary(min_size=8, max_size=8)
PLACES = st.none() | st.tuples(COUNTS, st.integers(0, 300))
USAGES = st.none() | st.builds(
    Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([(), (("audio_input", 3),)]),
    st.sampled_from(["", "flex"]),
)  # fmt: skip
SPANS = st.builds(
    call,
    tenant_id=COUNTS,
    parent_span_id=IDS,
    name=TEXTS,
    duration_ns=COUNTS,
    response_id=TEXTS,
    finish_reasons=st.lists(TEXTS, max_size=2).map(tuple),
    usage=USAGES,
    is_stream=st.booleans(),
    cost_nanousd=st.none() | COUNTS,
    held_nanousd=COUNTS,
    ttft_ns=st.none() | COUNTS,
    adapter=st.integers(0, 300),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=2),
    attribution=st.builds(Attribution, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, COUNTS),
)


@pytest.fixture(autouse=True)
def _compiled_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_rows, "_compiled", compiled.loaded())


@given(st.lists(SPANS, max_size=3), st.booleans(), TEXTS | st.just("a\0b"), PLACES, PLACES)
@settings(max_examples=200)
def test_spans(spans: list[Span], is_counted: bool, preview: str, place: Any, detail: Any) -> None:
    rows = [(span, is_counted, preview, place, detail) for span in spans]
    assert pack_spans(short_span_row(*row) for row in rows) == pack_spans(span_row(*row) for row in rows)


@given(st.lists(SPANS, max_size=3), st.booleans(), st.none() | COUNTS, st.lists(COUNTS, max_size=3))
@settings(max_examples=200)
def test_claims_and_bills(spans: list[Span], is_counted: bool, bill_id: int | None, budgets: list[int]) -> None:
    claims = [(span.tenant_id, claim_of(span), is_counted, bill_id) for span in spans]
    assert pack_claims(short_claim_row(*row) for row in claims) == pack_claims(claim_row(*row) for row in claims)
    bills = [bill_of(span, 5) for span in spans if span.usage is not None]
    bills += [reversal_of(bill, 6, "why") for bill in bills]
    assert pack_bills(short_bill_row(bill, budgets) for bill in bills) == pack_bills(
        bill_row(bill, budgets) for bill in bills
    )


@pytest.mark.parametrize("row_of", [span_row, short_span_row])
@pytest.mark.parametrize(
    "changes", [{"name": 1}, {"tenant_id": 2**63}, {"usage": Usage(2**62, 2**62)}, {"adapter": 2**15}, {"usage": 3}]
)
def test_what_does_not_fit_is_refused_alike(row_of: Any, changes: dict[str, Any]) -> None:
    span = call()
    for name, value in changes.items():
        setattr(span, name, value)
    if compiled.loaded() is not None:  # psycopg refuses it later
        with pytest.raises((OverflowError, TypeError, AttributeError)):
            pack_spans([row_of(span, True, "", None, (1, 2))])


def test_an_object_without_a_value_or_of_another_type_is_refused() -> None:
    module = compiled.loaded()
    if module is None:
        return
    span = call()
    del span.status
    with pytest.raises(AttributeError):
        pack_spans([short_span_row(span, True, "", None, (1, 2))])
    with pytest.raises(TypeError):
        pack_spans([(object(), *short_span_row(call(), True, "", None, (1, 2))[1:])])
    with pytest.raises(ValueError, match="a row is a tuple"):
        pack_spans([(call(),)])
    assert {len(kinds_of(columns)) for columns in (SPAN, CLAIM, BILL)}.isdisjoint({10, 6, 3})


@pytest.mark.parametrize(
    ("kinds", "columns", "width"),
    [
        (b"q", (), 2),
        (b"q", ((False, (0,)),), 0),
        (b"q", ((False, (0,)),), 1),
        (b"q", ((False, (2,)),), 2),
        (b"q", ((False, (-1,)),), 2),
        (b"q", ((False, ("x",)),), 2),
        (b"q", ((False, ()),), 2),
        (b"q", ((False,),), 2),
        (b"q", (0,), 2),
        (b"t", ((False, (0,), (1,)),), 2),
        (b"q", ((False, *((0,),) * 5),), 2),
        (b"q", ((False, (0, (Span, "tenant_id"), (Span, "tenant_id"), (Span, "tenant_id"))),), 2),
        (b"q", ((False, (0, (Span, "end_ns"))),), 2),
        (b"q", ((False, (0, (Span, "no_such"))),), 2),
        (b"q", ((False, (0, (Span,))),), 2),
        (b"q", ((False, (0, 5)),), 2),
        (b"q", ((False, (0, (7, "tenant_id"))),), 2),
        (b"q", ((False, (0, (type, "__basicsize__"))),), 2),
    ],
)
def test_a_plan_that_leads_nowhere_is_refused(kinds: bytes, columns: Any, width: int) -> None:
    module = compiled.loaded()
    if module is not None:
        with pytest.raises((ValueError, TypeError, AttributeError)):
            module.row_plan(kinds, columns, width)
        with pytest.raises((ValueError, TypeError)):
            module.packed_by(kinds, [])
