"""Blocks of details: what comes out is what went in, slot by slot."""

from dataclasses import replace
from typing import Any

import msgspec
import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.core.clock import utc_from_ns
from llmobs.spans.details import Detail, Place, details_at, make_details, read_details, rewrite_details
from tests.ingest.making import START_NS, call, commit

Connection = psycopg.Connection[Any]
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=10)
VALUES = TEXT | st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
DETAILS = st.builds(
    lambda attributes, reasons, *texts: Detail(msgspec.json.encode(attributes), texts[0], tuple(reasons), texts[1]),
    st.dictionaries(TEXT, VALUES | st.lists(VALUES, max_size=3), max_size=4),
    st.lists(TEXT, max_size=3),
    TEXT,
    TEXT,
)
DAY = utc_from_ns(START_NS).date()


@settings(max_examples=40, deadline=None)
@given(st.lists(DETAILS, max_size=6))
def test_a_block_gives_back_what_it_was_made_of(details: list[Detail]) -> None:
    assert read_details(make_details(details)) == details


@settings(max_examples=40, deadline=None)
@given(DETAILS)
def test_a_detail_tells_a_row_its_columns(detail: Detail) -> None:
    values = detail.values()
    assert set(values) == {"attributes", "scope_name", "finish_reasons", "price_version"}
    assert msgspec.json.encode(values["attributes"]) == msgspec.json.encode(msgspec.json.decode(detail.attributes))


def test_one_slot_is_written_anew_and_nothing_of_it_stays(pg: Connection) -> None:
    spans = [call(attributes={"secret": f"word-{n}"}) for n in range(12)]
    commit(pg, *spans)
    rows = pg.execute("SELECT DISTINCT detail_id FROM span").fetchall()
    assert len(rows) == 1
    place = Place(rows[0][0], DAY, 3)
    assert rewrite_details(pg, 1, {place: Detail(b"{}")}) == 1
    others = [replace(place, slot=slot) for slot in range(12)]
    found = details_at(pg.cursor(), 1, others)
    assert found[place] == Detail(b"{}")
    assert sorted(detail.attributes for detail in found.values())[:-1] == sorted(
        msgspec.json.encode(span.attributes) for n, span in enumerate(spans) if n != 3
    )


def test_a_stranger_reads_no_block(pg: Connection) -> None:
    commit(pg, *[call(attributes={"n": n}) for n in range(12)])
    row = pg.execute("SELECT detail_id FROM span LIMIT 1").fetchone()
    assert row is not None
    place = Place(row[0], DAY, 0)
    assert details_at(pg.cursor(), 2, [place]) == {}
    assert len(details_at(pg.cursor(), 1, [place, replace(place, slot=999)])) == 1
