"""Sums out of the roll-ups are the sums of the bills, however the window is cut and whatever is compacted."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from dashboards.queries.costs import cost_by, paid_for, unpriced_models
from dashboards.queries.rollup import latencies, latencies_of_each, merged, total, totals
from dashboards.queries.scope import Filters, Scope
from dashboards.queries.slots import slots_of
from dashboards.window import DAY, HOUR, MINUTE, Window
from llmobs.rollups.compact import compact_all
from tests.dashboards.cast import Cast

UTC_ZONE = ZoneInfo("UTC")


def scope_of(cast: Cast, hours_ago: float, hours: float, **filters: Any) -> Scope:
    start = (cast.now - timedelta(hours=hours_ago)).replace(second=0, microsecond=0)
    return Scope((cast.acme.pk,), Window(start, start + timedelta(hours=hours), UTC_ZONE), Filters(**filters))


def billed(pg: "psycopg.Connection[Any]", scope: Scope, condition: str = "true") -> tuple[int, int]:
    row = pg.execute(
        f"SELECT coalesce(sum(cost_nanousd), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint FROM bill "
        f"WHERE tenant_id = ANY(%s) AND begin_at >= %s AND begin_at < %s AND {condition}",
        (list(scope.tenant_ids), scope.window.start, scope.window.end),
    ).fetchone()
    assert row is not None
    cost_nanousd, output_tokens = row
    return int(cost_nanousd), int(output_tokens)


def test_sums_are_the_bills_to_the_nano_usd_at_odd_edges(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    for hours_ago, hours in ((71.4, 71.4), (30.3, 7.7), (0.9, 0.4), (50.2, 0.3)):
        scope = scope_of(cast, hours_ago, hours)
        found = total(pg.cursor(), scope)
        assert (found.cost_nanousd, found.output_tokens) == billed(pg, scope)


def test_sums_by_a_dimension_add_up_to_the_whole(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 70, 70.1)
    whole = total(pg.cursor(), scope)
    for dimension in ("feature", "model", "status", "error", "key"):
        rows = totals(pg.cursor(), scope, (dimension,))
        assert sum(row.cost_nanousd for row in rows) == whole.cost_nanousd
        assert sum(row.calls for row in rows) == whole.calls


def test_a_filter_counts_only_what_it_names(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 70, 70.1, feature="checkout")
    assert total(pg.cursor(), scope).cost_nanousd == billed(pg, scope, "feature = 'checkout'")[0]


def test_buckets_add_up_whatever_their_size(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 48, 48.1)
    whole = total(pg.cursor(), scope).cost_nanousd
    for size in (MINUTE, HOUR, DAY):
        assert sum(row.cost_nanousd for row in totals(pg.cursor(), scope, over_time=True, bucket=size)) == whole


def test_compacting_changes_no_figure(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 60.5, 60.6)
    before = (totals(pg.cursor(), scope, ("model",)), merged(latencies(pg.cursor(), scope)).counts)
    assert compact_all(pg) > 0
    assert (totals(pg.cursor(), scope, ("model",)), merged(latencies(pg.cursor(), scope)).counts) == before


def test_latencies_that_are_asked_for_at_once_are_those_of_each(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    compact_all(pg)
    scopes = [scope_of(cast, 60.5, 60.6), scope_of(cast, 30.3, 7.7), scope_of(cast, 400, 1)]
    asked = [(scope, of) for scope in scopes for of in ("duration", "ttft")]
    alone = [merged(latencies(pg.cursor(), scope, of=of)).counts for scope, of in asked]
    assert [merged(found).counts for found in latencies_of_each(pg.cursor(), asked)] == alone
    assert alone[0]
    assert latencies_of_each(pg.cursor(), []) == []


def test_percentiles_are_within_one_percent_of_the_spans(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 70, 70.1)
    row = pg.execute(
        "SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ns) / 1e6 FROM span WHERE tenant_id = %s "
        "AND is_call AND is_counted AND status <> 'refused' AND start >= %s AND start < %s",
        (cast.acme.pk, scope.window.start, scope.window.end),
    ).fetchone()
    assert row is not None
    found = merged(latencies(pg.cursor(), scope)).quantile_ms(0.95)
    assert found is not None
    assert abs(found / float(row[0]) - 1) < 0.01


def test_refusals_are_neither_calls_nor_errors(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    rows = {row.key[0]: row for row in totals(pg.cursor(), scope_of(cast, 2, 2.1), ("status",))}
    assert (rows["refused"].refused, rows["refused"].calls, rows["refused"].errors) == (1, 0, 0)


def test_what_was_paid_for_adds_up_to_what_was_spent(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 70, 70.1)
    paid = paid_for(pg.cursor(), scope)
    assert sum(row.cost_nanousd or 0 for row in paid) == billed(pg, scope)[0]
    assert abs(next((row.cost_nanousd or 0 for row in paid if row.kind == "other"), 0)) < 10_000  # rounding alone


def test_users_cost_what_their_bills_say(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = scope_of(cast, 2, 2.1)
    found = {row.key[0]: row.cost_nanousd for row in cost_by(pg.cursor(), scope, "user")}
    assert found["u_48213"] == billed(pg, scope, "user_id = 'u_48213'")[0]


def test_calls_without_a_price_are_named(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    found = unpriced_models(pg.cursor(), scope_of(cast, 2, 2.1))
    assert [(row.model, row.calls) for row in found] == [("mistral-next", 1)]


def test_another_tenant_has_none_of_it(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    scope = Scope((cast.globex.pk,), scope_of(cast, 70, 70.1).window)
    assert total(pg.cursor(), scope).calls == 0


def test_a_model_keeps_its_slot_for_ever(pg: "psycopg.Connection[Any]") -> None:
    assert slots_of(pg.cursor(), ["b", "a"]) == {"b": 1, "a": 2}
    assert slots_of(pg.cursor(), ["c", "a", "b"]) == {"b": 1, "a": 2, "c": 3}
