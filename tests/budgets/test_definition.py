"""Which budgets apply to a call, and how they are read."""

from typing import Any

import pytest

from llmobs.budgets.definition import NONE_APPLY, Budgets, load
from llmobs.budgets.scope import LONGEST_VALUE, canonical_value
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.tenants.attribution import Attribution
from tests.budgets.made import AT_NS, AT_S, Conn, info, make_budget, make_key, make_tenant

ANN = Attribution(feature="chat", environment="prod", service="web", user_id="ann", session_id="s1", key_id=5)


def values(scope: dict[str, str], attribution: Attribution = ANN, **changes: Any) -> list[str]:
    budgets = Budgets([info(scope=tuple(sorted(scope.items())), **changes)])
    return [each.value for each in budgets.applying(7, attribution, "gpt-4o", "openai", AT_NS)]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, [""]),
        ({"feature": "chat"}, [""]),
        ({"feature": "search"}, []),
        ({"feature": "chat", "environment": "prod", "service": "web"}, [""]),
        ({"feature": "chat", "environment": "dev"}, []),
        ({"user": "ann"}, [""]),
        ({"session": "s1"}, [""]),
        ({"key": "5"}, [""]),
        ({"key": "6"}, []),
        ({"model": "gpt-4o", "provider": "openai"}, [""]),
        ({"model": "gpt-4"}, []),
        ({"user": "*"}, ["ann"]),
        ({"user": "*", "feature": "chat"}, ["ann"]),
        ({"user": "*", "feature": "search"}, []),
        ({"user": "*", "feature": "*"}, ['["chat","ann"]']),
        ({"key": "*"}, ["5"]),
    ],
)
def test_a_budget_applies_where_all_of_its_scope_agrees(scope: dict[str, str], expected: list[str]) -> None:
    assert values(scope) == expected


def test_who_leaves_out_the_user_shares_the_budget_of_the_unknown_one() -> None:
    assert values({"user": "*"}, Attribution()) == [""]
    assert values({"key": "*"}, Attribution()) == [""]


def test_other_tenants_and_tenants_without_budgets_get_nothing() -> None:
    assert Budgets([info()]).applying(8, ANN, "gpt-4o", "openai", AT_NS) is NONE_APPLY


def test_a_budget_that_is_not_counted_does_not_apply_and_none_applies_before_it_was() -> None:
    assert values({}, counted_from_s=None) == []
    assert values({}, counted_from_s=AT_S + 1) == []
    assert values({}, counted_from_s=AT_S) == [""]


def test_the_window_is_that_of_the_time_asked_for_in_whatever_order() -> None:
    budgets = Budgets([info()])
    starts = [
        budgets.applying(7, ANN, "m", "p", at_s * NS_PER_SECOND)[0].window_start_s
        for at_s in (AT_S, AT_S + 86_400, AT_S)
    ]
    assert starts == [AT_S - AT_S % 86_400, AT_S - AT_S % 86_400 + 86_400, AT_S - AT_S % 86_400]


def test_a_call_is_matched_without_making_anything_anew() -> None:
    budgets = Budgets([info(scope=(("user", "*"),))])
    first, second = (budgets.applying(7, ANN, "m", "p", AT_NS)[0] for _ in range(2))
    assert first is second


def test_a_long_value_is_kept_by_its_hash_and_stays_distinct() -> None:
    one, two = canonical_value("a" * 5000), canonical_value("a" * 4999 + "b")
    assert one != two
    assert len(one) <= LONGEST_VALUE
    assert canonical_value(("a", "b,c")) != canonical_value(("a,b", "c"))


def test_load_reads_active_budgets_and_resolves_keys(pg: Conn) -> None:
    acme, other = make_tenant(pg, "acme", "Europe/Berlin"), make_tenant(pg, "other")
    own_key, their_key = make_key(pg, acme, "prod"), make_key(pg, other, "prod")
    counted_at = utc_from_ns(AT_NS)
    make_budget(pg, acme, name="own", scope='{"key": "prod", "feature": "chat"}', counted_at=counted_at)
    make_budget(pg, acme, name="theirs", scope='{"key": "other/prod"}', limit_nanousd=None, limit_tokens=9)
    make_budget(pg, acme, name="nobody's", scope='{"key": "gone"}')
    make_budget(pg, acme, name="paused", is_active=False)
    make_budget(pg, acme, name="faulty", scope='{"moon": "full"}')
    own, theirs, nobodys = load(pg).infos
    assert own.scope == (("feature", "chat"), ("key", str(own_key)))
    assert (own.unit, own.limit, own.zone, own.thresholds) == ("usd", 100, "Europe/Berlin", (70, 80, 100))
    assert own.counted_from_s == 1_795_215_600  # 2026-11-21 00:00 in Berlin
    assert (theirs.scope, theirs.unit, theirs.limit, theirs.is_counted) == (
        (("key", str(their_key)),),
        "tokens",
        9,
        False,
    )
    assert nobodys.scope == (("key", "-1"),)


@pytest.mark.parametrize(
    ("change", "revision"),
    [
        ("name = 'renamed', limit_nanousd = 5, action = 'alert', thresholds = '[50]'", 1),
        ("revision = 9", 1),
        ('scope = \'{"feature": "chat"}\'', 2),
        ("\"window\" = 'month'", 2),
        ("limit_nanousd = NULL, limit_tokens = 5", 2),
        ("is_active = false", 2),
    ],
)
def test_what_changes_what_is_counted_starts_a_new_revision(pg: Conn, change: str, revision: int) -> None:
    make_budget(pg, make_tenant(pg), counted_at=utc_from_ns(AT_NS))
    pg.execute(f"UPDATE budgets_budget SET {change}")
    row = pg.execute("SELECT revision, counted_at IS NOT NULL FROM budgets_budget").fetchone()
    assert row == (revision, revision == 1)


def test_another_time_zone_starts_a_new_revision_of_all_the_tenant_s_budgets(pg: Conn) -> None:
    for slug in ("acme", "other"):
        make_budget(pg, make_tenant(pg, slug), counted_at=utc_from_ns(AT_NS))
    pg.execute("UPDATE tenants_tenant SET time_zone = 'Europe/Berlin' WHERE slug = 'acme'")
    pg.execute("UPDATE tenants_tenant SET name = 'Other' WHERE slug = 'other'")
    rows = pg.execute("SELECT revision, counted_at IS NULL FROM budgets_budget ORDER BY id").fetchall()
    assert rows == [(2, True), (1, False)]
