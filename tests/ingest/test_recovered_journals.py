"""What recovery reads in journals is what the writer will bill of the same entries, to the nano-USD and the token."""

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from llmobs.budgets import definition, ledger
from llmobs.budgets.recovery import Offset
from llmobs.ingest.attempts import abandoned_span, ended_span
from llmobs.ingest.entries import Hold
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.ledger_keeper import HostJournals
from llmobs.ingest.shares import Whole, kept_name, only_one
from llmobs.spans.bill import bill_of
from tests.budgets.made import make_budget
from tests.ingest.making import begin, end, make_tenant

Connection = psycopg.Connection[Any]
KEY = bytes(range(32))
BEFORE = {"owner": Offset(0, 0)}


@pytest.mark.parametrize("nanousd", [7_000, None], ids=["priced", "without a price"])
def test_an_ended_attempt_pends_by_what_its_bill_takes(pg: Connection, tmp_path: Path, nanousd: int | None) -> None:
    make_tenant(pg)
    usd = make_budget(pg, 1, name="usd", counted_at="2026-01-01T00:00:00Z")
    tokens = make_budget(pg, 1, name="t", limit_nanousd=None, limit_tokens=9, counted_at="2026-01-01T00:00:00Z")
    holds = [Hold(usd, 1, "", 0, 9_000), Hold(tokens, 1, "", 0, 200)]
    held: dict[str, Any] = {"held_nanousd": None, "unpriced_nanousd": 9_000} if nanousd is None else {}
    began = begin(holds=holds, **held)
    ended = end(began, cost_nanousd=nanousd)
    writer = JournalWriter(tmp_path / "owner", KEY)
    for entry in (began, ended):
        writer.append(entry)
    writer.close()
    journals = HostJournals(tmp_path, KEY, pg, "me", definition.load(pg), Whole(tmp_path).mine)
    (found,) = journals.hand_ins(BEFORE, set())
    bill = bill_of(ended_span(began, ended), 1)
    assert found.state == ledger.PENDING
    assert [amount for _, amount in found.holds] == [bill.taken_nanousd, bill.tokens]
    assert bill.taken_nanousd == (9_000 if nanousd is None else nanousd)


def test_journals_of_a_writer_that_stands_still_are_read_for_it(pg: Connection, tmp_path: Path) -> None:
    """It lives, has not joined, and is not seen any more; once it has joined, it brings them in by itself."""
    make_tenant(pg)
    usd = make_budget(pg, 1, name="usd", counted_at="2026-01-01T00:00:00Z")
    began = begin(holds=[Hold(usd, 1, "", 0, 9_000)])
    writer = JournalWriter(tmp_path / "owner", KEY)
    for entry in (began, end(began, cost_nanousd=7_000)):
        writer.append(entry)
    writer.close()
    lock = only_one(tmp_path, 2, lambda: False)
    assert lock is not None
    other = kept_name(lock)
    journals = HostJournals(tmp_path, KEY, pg, "me", definition.load(pg), list)

    (found,) = journals.hand_ins(BEFORE, set())
    assert (found.state, [amount for _, amount in found.holds]) == (ledger.PENDING, [7_000])
    assert list(journals.hand_ins(BEFORE, {other})) == []

    os.close(lock)
    assert list(journals.hand_ins(BEFORE, set())) == []


def test_who_joins_reads_the_journals_that_it_took_and_no_others(pg: Connection, tmp_path: Path) -> None:
    """What comes free after the moment of the offsets may have been committed since."""
    make_tenant(pg)
    usd = make_budget(pg, 1, name="usd", counted_at="2026-01-01T00:00:00Z")
    began = begin(holds=[Hold(usd, 1, "", 0, 9_000)])
    mine = [tmp_path / "gone"]
    journals = HostJournals(tmp_path, KEY, pg, "me", definition.load(pg), lambda: mine)
    journals.take()
    mine = [tmp_path / "owner"]
    writer = JournalWriter(tmp_path / "owner", KEY)
    writer.append(began)
    writer.close()

    assert list(journals.hand_ins(BEFORE, set())) == []


def test_an_abandoned_attempt_without_a_price_takes_what_it_held() -> None:
    span = abandoned_span(begin(held_nanousd=None, unpriced_nanousd=9_000, price_version=""), 0)
    bill = bill_of(span, 1)
    assert (bill.cost_nanousd, bill.taken_nanousd) == (None, 9_000)
