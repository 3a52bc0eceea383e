"""What the gateway's calls add to the roll-ups: attempts of one call, hits of the cache, the speed of streams."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dashboards.queries.rollup import Totals, total, totals
from dashboards.queries.scope import Filters, Scope
from dashboards.queries.traces import outcomes_by_bucket
from dashboards.window import Window
from llmobs.ops.verify import verify
from llmobs.pricing.usage import Usage
from llmobs.rollups.compact import TARGETS, compact_all
from llmobs.rollups.delta import SUMS
from llmobs.spans.record import Span
from tests.ingest.calls import fallen_back, given_up, hit, stream
from tests.ingest.making import START_NS, commit, make_tenant

Connection = psycopg.Connection[Any]
START = datetime.fromtimestamp(START_NS / 1e9, UTC)


def scope(**filters: Any) -> Scope:
    window = Window(START - timedelta(hours=1), START + timedelta(hours=1), ZoneInfo("UTC"))
    return Scope((1,), window, Filters(**filters))


def written(pg: Connection, *spans: Span) -> Totals:
    """What the roll-ups say of these spans, before and after compaction the same, and as verify finds it."""
    make_tenant(pg)
    commit(pg, *spans)
    before = total(pg.cursor(), scope())
    compact_all(pg)
    assert total(pg.cursor(), scope()) == before
    assert [str(d) for d in verify(pg).differences if d.check.startswith("rollup_")] == []
    return before


def test_a_call_that_fell_back_is_one_call_that_did_not_fail(pg: Connection) -> None:
    """S3-29: the attempt is its provider's error, the call was answered."""
    found = written(pg, *fallen_back())
    assert (found.calls, found.errors) == (2, 1)
    assert (found.asked, found.failed, found.degraded) == (1, 0, 1)


def test_a_call_whose_attempts_all_failed_is_one_failed_call(pg: Connection) -> None:
    found = written(pg, *given_up())
    assert (found.calls, found.errors, found.asked, found.failed) == (2, 2, 1, 1)


def test_by_provider_each_attempt_is_its_own(pg: Connection) -> None:
    written(pg, *fallen_back())
    rows = {row.key[0]: row for row in totals(pg.cursor(), scope(), ("provider",))}
    assert {name: (row.calls, row.errors, row.asked, row.failed) for name, row in rows.items()} == {
        "anthropic": (1, 1, 1, 1),
        "openai": (1, 0, 1, 0),
    }
    only = total(pg.cursor(), scope(provider="anthropic"))
    assert (only.asked, only.failed) == (1, 1)


def test_outcomes_over_time_are_those_of_calls(pg: Connection) -> None:
    written(pg, *fallen_back(), *given_up(), hit())
    found = outcomes_by_bucket(pg.cursor(), scope())
    sums = {name: sum(getattr(b, name) for b in found) for name in ("ok", "degraded", "refused", "failed")}
    assert sums == {"ok": 1, "degraded": 1, "refused": 0, "failed": 1}


def test_hits_are_counted_with_what_they_saved(pg: Connection) -> None:
    """S3-30: the share of calls out of the cache, by any dimension of the roll-ups."""
    found = written(pg, hit(), hit(), hit(saved_nanousd=None), *fallen_back())
    assert (found.cached_calls, found.saved_nanousd, found.asked) == (3, 8000, 4)
    assert found.cache_hit_rate == 0.75
    [by_feature] = totals(pg.cursor(), scope(), ("feature",))
    assert by_feature.cache_hit_rate == 0.75
    [by_day] = [row for row in totals(pg.cursor(), scope(), over_time=True, bucket=timedelta(days=1)) if row.asked]
    assert (by_day.cached_calls, by_day.saved_nanousd) == (3, 8000)


def test_a_stale_answer_is_no_hit(pg: Connection) -> None:
    found = written(pg, hit(cache="stale", degraded="stale_cache", status="degraded"))
    assert (found.asked, found.cached_calls, found.degraded) == (1, 0, 1)


def test_a_report_that_says_it_was_a_hit_is_not_believed(pg: Connection) -> None:
    reported = hit()
    reported.source = 2
    assert written(pg, reported).cached_calls == 0


@pytest.mark.parametrize(
    ("spans", "speed"),
    [
        ([stream(output=50, streaming_ms=500)], 100.0),
        ([stream(output=50, streaming_ms=500), stream(output=10, streaming_ms=100, is_stream=False)], 100.0),
        ([stream(output=50, streaming_ms=500), stream(output=250, streaming_ms=1000)], 200.0),
        ([stream(output=50, streaming_ms=0)], None),
        ([stream(status="cut_off")], None),
        ([stream(is_estimated=True)], None),
        ([hit()], None),
    ],
)
def test_streams_have_a_speed(pg: Connection, spans: list[Span], speed: float | None) -> None:
    assert written(pg, *spans).tokens_per_second == speed


def test_hidden_reasoning_makes_no_stream_look_fast(pg: Connection) -> None:
    thinking = stream()
    thinking.usage = Usage(uncached_input=40, output=500, reasoning=450)
    assert written(pg, thinking).tokens_per_second is None


def test_spans_of_before_are_counted_by_the_migration(pg: Connection) -> None:
    spans = [*fallen_back(), *given_up(), hit(), stream()]
    written(pg, *spans)
    expected = total(pg.cursor(), scope())
    new = SUMS[SUMS.index("retried_calls") :]
    for table in (to.table for to in TARGETS):
        pg.execute(f"UPDATE {table} SET {', '.join(f'{name} = 0' for name in new)}")
    pg.execute("UPDATE span SET reasoning_output_tokens = 0 WHERE reasoning_output_tokens IS NULL")  # as rows of then
    pg.execute(import_module("llmobs.rollups.migrations.0002_gateway_sums").FILL)
    quarters = import_module("llmobs.rollups.migrations.0004_quarters")  # which was made of what was there then
    pg.execute(f"TRUNCATE {', '.join(quarters.TABLES)}")
    pg.execute(quarters.FILL)
    assert total(pg.cursor(), scope()) == expected
    compact_all(pg)
    assert [d for d in verify(pg).differences if d.check.startswith("rollup_")] == []
