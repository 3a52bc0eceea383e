"""A report counts once, however often it comes; a newer one of a day takes the place of the older, which is kept."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import zstandard

from llmobs.reconcile.accounts import account_named
from llmobs.reconcile.rows import ReportError
from tests.reconcile.made import make_account, take_in

Connection = psycopg.Connection[Any]
HEAD = "date,line_item,amount\n"
OLD = HEAD + '2026-11-01,"gpt-4o, input",1.00\n2026-11-02,"gpt-4o, input",2.00\n'
NEW = HEAD + '2026-11-02,"gpt-4o, input",2.50\n'


def current(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT d.day::text, r.amount_nanousd FROM reconcile_reportday d "
        "JOIN reconcile_reportrow r ON r.report_id = d.report_id AND r.day = d.day WHERE d.is_current ORDER BY 1"
    ).fetchall()


def test_the_same_report_twice_changes_nothing(pg: Connection) -> None:
    account_id = make_account(pg, "openai")
    first, second = take_in(pg, account_id, OLD), take_in(pg, account_id, OLD, "another-name.csv")
    assert (first.is_new, second.is_new) == (True, False)
    assert second.report_id == first.report_id
    assert current(pg) == [("2026-11-01", Decimal(10**9)), ("2026-11-02", Decimal(2 * 10**9))]


def test_a_newer_report_of_a_day_takes_its_place_and_history_stays(pg: Connection) -> None:
    account_id = make_account(pg, "openai")
    take_in(pg, account_id, OLD)
    take_in(pg, account_id, NEW)
    assert not take_in(pg, account_id, OLD).is_new  # nor does the older one come back
    assert current(pg) == [("2026-11-01", Decimal(10**9)), ("2026-11-02", Decimal(25 * 10**8))]
    assert pg.execute("SELECT count(*) FROM reconcile_reportrow").fetchone() == (3,)
    raw = pg.execute("SELECT raw FROM reconcile_report ORDER BY id LIMIT 1").fetchone()
    assert raw is not None
    assert zstandard.ZstdDecompressor().decompress(raw[0]) == OLD.encode()


def test_two_at_once_count_once(pg: Connection, database_url: str) -> None:
    account_id = make_account(pg, "openai")

    def one(n: int) -> bool:
        with psycopg.connect(database_url, autocommit=True) as conn:
            return take_in(conn, account_id, OLD).is_new

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == [False, False, False, True]
    assert len(current(pg)) == 2


def test_a_report_that_is_none_leaves_nothing(pg: Connection) -> None:
    account_id = make_account(pg, "anthropic")
    with pytest.raises(ReportError, match="a report of openai"):
        take_in(pg, account_id, OLD)
    assert pg.execute("SELECT count(*) FROM reconcile_report").fetchone() == (0,)


def test_its_months_are_due(pg: Connection) -> None:
    take_in(pg, make_account(pg, "openai"), HEAD + "2026-10-31,x,1\n2026-11-01,x,1\n")
    found = pg.execute("SELECT first_day::text, is_due FROM reconcile_month ORDER BY 1").fetchall()
    assert found == [("2026-10-01", True), ("2026-11-01", True)]


def test_an_account_is_made_where_it_is_plain_whose_reports_it_gets(pg: Connection) -> None:
    assert account_named(pg, "openai") == account_named(pg, "openai")
    other = make_account(pg, "anthropic", providers=["claude-eu"])
    assert account_named(pg, "claude-eu") == other
    with pytest.raises(ReportError, match="no account 'acme'"):
        account_named(pg, "acme")
