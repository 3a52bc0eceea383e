"""Re-pricing: what changed is told by adjustments, every sum follows, and undoing leaves the very same totals.

Of the pains: costs that do not match the bill (10, 11), unknown models without a cost (12), each cost by its price
version (13), history that stays at 0 when a price is changed or added later (23).
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from llmobs.budgets import definition
from llmobs.budgets.spend import count_new_budgets
from llmobs.core import semconv
from llmobs.ingest import adjust_run
from llmobs.ingest import commit as commit_module
from llmobs.ingest.adjust import Stretch
from llmobs.ingest.adjust_preview import preview
from llmobs.ingest.adjust_write import write_rollups
from llmobs.ingest.commit import share_tenant
from llmobs.ops.verify import verify
from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.price import AtTier, Rates
from llmobs.pricing.repricing import Question
from llmobs.pricing.usage import Usage
from llmobs.providers.models import Provider
from llmobs.rollups.compact import compact_all
from llmobs.spans.trace_deltas import fold
from tests.budgets.made import make_budget
from tests.ingest.making import PRICE, START_NS, call, commit, make_tenant, step
from tests.ingest.repricings import DOUBLE, QUESTION, START, Runs, book_with, make, totals

Connection = psycopg.Connection[Any]
DAY_NS = 86_400 * 10**9
UNPRICED: dict[str, Any] = {"cost_nanousd": None, "price_version": ""}


@pytest.fixture
def runs(pg: Connection, database_url: str) -> Runs:
    make_tenant(pg)
    make_tenant(pg, 2)
    return Runs(database_url)


def no_difference(conn: Connection) -> None:
    assert [str(d) for d in verify(conn).differences] == []


def fill(conn: Connection) -> None:
    """Calls of every kind, half of them compacted: two that flip, estimated ones, unpriced ones, of two tenants."""
    reported = call(response_id="r")
    commit(conn, reported, call(), call(status="failed", usage=None), call(usage=None), step(), call(2))
    compact_all(conn)
    commit(
        conn,
        call(response_id="r", source=semconv.SOURCE_GATEWAY, scope_name="", usage=Usage(7, 1, 2, 3, 4, 2)),
        call(is_estimated=True, ttft_ns=5_000_000),
        call(cost_nanousd=None, price_version=""),
        call(start_ns=START_NS - 86_400 * 10**9, usage=Usage(10_000, 20, 30, 40, 500)),
        step(trace_id=reported.trace_id, start_ns=START_NS + 1),
    )


def test_every_sum_follows_and_undoing_leaves_the_very_same_totals(pg: Connection, runs: Runs) -> None:
    fill(pg)
    before = totals(pg)
    no_difference(pg)
    repricing_id = make(pg)
    done = runs.apply(repricing_id, book_with(DOUBLE))
    no_difference(pg)
    # Calls of 1000 in and 500 out cost 6 instead of 3 nano-USD: two of tenant 1, one of tenant 2 and the estimated one
    # of tenant 1 gain 3 each; one without price gains 6. The long one costs 25 (24.255) instead of 13 (12.1275).
    # The gateway's of 7, 1, 2, 3 and 4 tokens costs 1 either way, and that which reports it no more.
    assert (done.bills, done.nanousd) == (5, 3 * 3 + 6 + 12)
    assert totals(pg) != before
    compact_all(pg)
    no_difference(pg)
    assert runs.undo(repricing_id).nanousd == -done.nanousd
    no_difference(pg)
    assert totals(pg) == before


def test_each_number_explains_itself(pg: Connection, runs: Runs) -> None:
    commit(pg, call(), call(cost_nanousd=None, price_version=""))
    repricing_id = make(pg)
    runs.apply(repricing_id, book_with(DOUBLE))
    rows = pg.execute(
        "SELECT requests, uncached_input_tokens, cost_nanousd, price_version = %s, reason FROM bill "
        "WHERE kind = 'adjustment' ORDER BY bill_id",
        (PRICE.version,),
    ).fetchall()
    reason = f"re-pricing {repricing_id}"
    assert sorted(rows, key=str) == sorted(
        [(0, 0, 3, False, reason), (-1, -1000, None, False, reason), (1, 1000, 6, False, reason)], key=str
    )


def test_what_is_right_already_is_left_alone(pg: Connection, runs: Runs) -> None:
    commit(pg, call())
    runs.apply(make(pg), book_with(DOUBLE))
    assert runs.apply(make(pg), book_with(DOUBLE)).bills == 0


def test_a_model_without_a_price_keeps_what_it_has(pg: Connection, runs: Runs) -> None:
    unknown: dict[str, Any] = {"request_model": "never-heard-of", "provider_name": "nobody"}
    commit(pg, call(**unknown), call(**unknown, cost_nanousd=None, price_version=""))
    done = runs.apply(make(pg), PriceBook(), replace(QUESTION, providers=(), models=()))
    assert (done.bills, done.nanousd) == (0, 0)
    no_difference(pg)


@pytest.mark.parametrize(
    ("usage", "nanousd"),
    [
        (Usage(1_000, 0, 0, 0, 500), 6),
        (Usage(201, 0, 0, 0, 0), 1),  # 0.402
        (Usage(500, 0, 0, 0, 0), 1),  # 1 to the point
        (Usage(501, 0, 0, 0, 0), 2),  # 1.002
        (Usage(10, 20, 30, 40, 50, 50), 1),  # 0.02 + 0.02 + 0.075 + 0.16 + 0.4
        (Usage(3_000_000, 0, 0, 0, 2_000_000), 22_000),  # beyond what SQL multiplies
        (Usage(0, 0, 0, 0, 0), 0),
    ],
)
def test_a_cost_is_rounded_up_once(pg: Connection, runs: Runs, usage: Usage, nanousd: int) -> None:
    commit(pg, call(usage=usage))
    runs.apply(make(pg), book_with(DOUBLE))
    assert pg.execute("SELECT sum(cost_nanousd) FROM bill").fetchone() == (nanousd,)
    no_difference(pg)


def test_what_is_no_text_and_what_has_a_tier_is_computed_by_the_one_function(pg: Connection, runs: Runs) -> None:
    rates = {"audio_input": 50_000, "web_search": 10_000_000_000}
    override = Override(
        None, "openai", "gpt-4o-mini", 0, DOUBLE, None, None, (), tuple(sorted(rates.items())),
        (AtTier("batch", Rates(1000, 0, 0, 0, 4000)),),
    )  # fmt: skip
    commit(
        pg,
        call(usage=Usage(1000, 0, 0, 0, 0, 0, (("audio_input", 400), ("web_search", 2))), **UNPRICED),
        call(usage=Usage(1000, 0, 0, 0, 500, 0, (), "batch"), **UNPRICED),
        call(usage=Usage(1000, 0, 0, 0, 500, 0, (), "priority"), **UNPRICED),
    )
    # 1000 * 2000 + 400 * 50,000 + 2 * 10^10 in millionths; 1000 * 1000 + 500 * 4000; no rates for priority.
    assert runs.apply(make(pg), PriceBook([override])).nanousd == 2 + 20 + 20_000 + 3
    no_difference(pg)
    fold(pg, share_tenant)
    no_difference(pg)
    assert pg.execute("SELECT sum(unpriced_count) FROM trace").fetchone() == (1,)
    assert pg.execute("SELECT sum((units->>'audio_input')::bigint) FROM bill").fetchone() == (400,)


def test_budgets_follow_in_closed_windows_too_and_the_ledger_is_told(pg: Connection, runs: Runs) -> None:
    make_budget(pg, 1, name="all", window="day")
    make_budget(pg, 1, name="each", window="month", scope='{"user": "*"}')
    with pg.transaction():
        count_new_budgets(pg, START_NS - 2 * DAY_NS)
    commit(pg, call(), call(start_ns=START_NS - DAY_NS), call(2))
    before = totals(pg)["spend"]
    repricing_id = make(pg)
    runs.apply(repricing_id, book_with(DOUBLE))
    no_difference(pg)
    assert sum(row[4] for row in totals(pg)["spend"]) == 2 * sum(row[4] for row in before)
    told = {(fold.budget_id, fold.value, fold.window_start_s): fold.base for fold in runs.folds}
    kept = pg.execute("SELECT budget_id, value, extract(epoch FROM window_start)::bigint, spent FROM budget_spend")
    assert told == {(budget, value, at): spent for budget, value, at, spent in kept}
    runs.undo(repricing_id)
    assert totals(pg)["spend"] == before
    no_difference(pg)


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same(
    pg: Connection, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(pg, *(call(start_ns=START_NS - n * DAY_NS // 4) for n in range(8)))
    before, repricing_id, done = totals(pg), make(pg), []
    whole = write_rollups

    def killed(conn: Connection, stretch: Any) -> None:
        whole(conn, stretch)
        done.append(stretch)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(adjust_run, "write_rollups", killed)
    monkeypatch.setattr(adjust_run, "BILLS_PER_STRETCH", 1)
    with pytest.raises(KeyboardInterrupt):
        adjust_run.apply(runs.connect, repricing_id, QUESTION, book_with(DOUBLE), runs.folds.extend, 1)
    no_difference(pg)
    assert pg.execute("SELECT count(*) FROM repricing_chunk WHERE applied_at IS NOT NULL").fetchone() == (1,)
    assert runs.apply(repricing_id, book_with(DOUBLE)).nanousd == 8 * 3
    no_difference(pg)
    done.clear()
    pg.execute("UPDATE repricing SET state = 'undoing'")
    with pytest.raises(KeyboardInterrupt):
        adjust_run.undo(runs.connect, repricing_id, runs.folds.extend, 1)
    no_difference(pg)
    monkeypatch.setattr(adjust_run, "write_rollups", whole)
    runs.undo(repricing_id)
    assert totals(pg) == before


def test_calls_that_come_meanwhile_by_the_old_price_are_seen_to(
    pg: Connection, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(pg, call())
    late = [call()]
    whole = adjust_run._open_again

    def after_a_commit(conn: Connection, repricing_id: int) -> None:
        if late:
            commit(pg, late.pop())
        whole(conn, repricing_id)

    monkeypatch.setattr(adjust_run, "_open_again", after_a_commit)
    assert runs.apply(make(pg), book_with(DOUBLE)).nanousd == 2 * 3
    no_difference(pg)


def test_what_comes_between_two_stretches_opens_the_one_that_it_lies_in(
    pg: Connection, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    day_ns = 86_400 * 10**9
    commit(pg, call(start_ns=START_NS - day_ns), call())
    late, whole, done = [call(start_ns=START_NS - day_ns)], adjust_run._one, list[Stretch]()

    def before_a_commit(conn: Connection, work: Any, stretch: Stretch, *rest: Any) -> Any:
        if done and late:  # the second has not begun
            commit(pg, late.pop())
        done.append(stretch)
        return whole(conn, work, stretch, *rest)

    monkeypatch.setattr(adjust_run, "_one", before_a_commit)
    asked = replace(QUESTION, since=QUESTION.since - timedelta(days=1))
    repricing_id = make(pg, asked)
    adjust_run.apply(runs.connect, repricing_id, asked, book_with(DOUBLE, since=asked.since), runs.folds.extend, 1)
    assert [stretch.since.day for stretch in done] == [done[0].since.day, START.day, done[0].since.day]
    assert pg.execute("SELECT sum(bills) FROM repricing_chunk").fetchone() == (3,)
    no_difference(pg)


def test_a_bill_that_waited_for_a_stretch_has_a_later_id(
    pg: Connection, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id was made before the lock: the stretch did not see it, and would take it as seen."""
    commit(pg, call())
    repricing_id, whole, waited = make(pg), commit_module.lock_tenants, list[int]()

    def behind_a_stretch(conn: Connection, tenants: list[int]) -> None:
        if not waited:
            waited.append(runs.apply(repricing_id, book_with(DOUBLE)).bills)
        whole(conn, tenants)

    monkeypatch.setattr(commit_module, "lock_tenants", behind_a_stretch)
    late = call()
    commit(pg, late)
    assert waited == [1]
    found = pg.execute(
        "SELECT bill_id > (SELECT max(seen) FROM repricing_chunk) FROM bill WHERE span_id = %s", (late.span_id,)
    ).fetchall()
    assert found == [(True,)]
    no_difference(pg)


def test_a_call_that_no_longer_counts_takes_its_adjustments_with_it(pg: Connection, runs: Runs) -> None:
    seen = [call(response_id="r"), call(response_id="s", cost_nanousd=None, price_version="")]
    commit(pg, *seen, call())
    first, second = make(pg), make(pg)
    runs.apply(first, book_with(DOUBLE))
    runs.apply(second, book_with(Rates(5000, 500, 1250, 2000, 4000)))
    better: dict[str, Any] = {"source": semconv.SOURCE_GATEWAY, "scope_name": ""}
    commit(pg, call(response_id="r", **better), call(response_id="s", **better))
    no_difference(pg)
    # Three calls count: two by the gateway at 3, one at 5 + 2 (the second price).
    assert pg.execute("SELECT sum(cost_nanousd), sum(requests) FROM bill").fetchone() == (3 + 3 + 7, 3)
    runs.undo(second)
    runs.undo(first)
    no_difference(pg)
    assert pg.execute("SELECT sum(cost_nanousd) FROM bill").fetchone() == (9,)


def test_a_dated_price_holds_from_its_moment_on(pg: Connection, runs: Runs) -> None:
    at = START + timedelta(minutes=7)  # within a quarter of an hour
    commit(pg, *(call(start_ns=START_NS + minutes * 60 * 10**9) for minutes in (6, 7, 8)))
    override = book_with(DOUBLE, since=at)
    asked = replace(QUESTION, since=at)
    assert runs.apply(make(pg, asked), override, asked).bills == 2
    no_difference(pg)


def test_providers_that_go_by_anothers_prices_are_priced_so(pg: Connection, runs: Runs) -> None:
    Provider.objects.create(name="slow", dialect="openai", base_url="http://127.0.0.1:1/v1", prices_like="openai")
    commit(pg, call(provider_name="slow", source=semconv.SOURCE_GATEWAY, scope_name=""), call(provider_name="slow"))
    asked = replace(QUESTION, providers=())
    # The second is a report from elsewhere: its provider is none of ours.
    assert runs.apply(make(pg, asked), book_with(DOUBLE), asked).bills == 1


def test_the_model_that_was_asked_for_prices_what_another_answered(pg: Connection, runs: Runs) -> None:
    span = call(request_model="gpt-4o-mini", response_model="gpt-4o-mini-next-of-2031", **UNPRICED)
    commit(pg, span)
    asked = replace(QUESTION, models=())
    assert runs.apply(make(pg, asked), book_with(DOUBLE), asked).nanousd == 6
    no_difference(pg)


def test_a_run_is_one_at_a_time(pg: Connection, runs: Runs) -> None:
    repricing_id = make(pg)
    with runs.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (adjust_run._LOCK, repricing_id))
        with pytest.raises(adjust_run.NotNow, match="another process"):
            runs.apply(repricing_id, book_with(DOUBLE))
    with pytest.raises(adjust_run.NotNow, match="is applying, not undoing"):
        adjust_run.undo(runs.connect, repricing_id, runs.folds.extend)


def test_a_preview_tells_what_applying_then_does_and_changes_nothing(pg: Connection, runs: Runs) -> None:
    make_budget(pg, 1, name="tight", window="day", limit_nanousd=5)
    make_budget(pg, 1, name="wide", window="day", limit_nanousd=500)
    with pg.transaction():
        count_new_budgets(pg, START_NS - DAY_NS)
    commit(pg, call(), call(2), call(**UNPRICED, start_ns=START_NS - DAY_NS))
    before = totals(pg)
    found = preview(pg, QUESTION, book_with(DOUBLE), definition.load(pg))
    assert totals(pg) == before
    assert (found.total.bills, found.total.old_nanousd, found.total.new_nanousd, found.total.gained) == (3, 6, 18, 1)
    assert {tenant: change.difference_nanousd for tenant, change in found.tenants.items()} == {1: 9, 2: 3}
    assert {day: change.difference_nanousd for (tenant, day), change in found.days.items() if tenant == 1} == {
        START.date(): 3, (START - timedelta(days=1)).date(): 6
    }  # fmt: skip
    # The tight one: 3 of 5 are spent today, and 0 of 5 yesterday, when the call had no price.
    assert [(b.name, b.difference_nanousd, b.passes) for b in found.budgets] == [
        ("tight", 6, True), ("tight", 3, True), ("wide", 6, False), ("wide", 3, False)
    ]  # fmt: skip
    assert runs.apply(make(pg), book_with(DOUBLE)).nanousd == found.total.difference_nanousd


def test_a_preview_takes_any_book_and_groups_by_model(pg: Connection, runs: Runs) -> None:
    commit(pg, call(), call(request_model="gpt-4o"))
    asked = Question(1, QUESTION.since, QUESTION.until)
    found = preview(pg, asked, book_with(DOUBLE), definition.load(pg))
    assert found.models["openai", "gpt-4o-mini"].difference_nanousd == 3
    # The bundled price of gpt-4o: 2.50 and 10 USD per million of its 1000 and 500 tokens.
    assert found.models["openai", "gpt-4o"].new_nanousd == 2_500_000 + 5_000_000
