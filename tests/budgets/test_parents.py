"""Parents: what a child counts and holds, the budgets above it count and hold too."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from llmobs.budgets.definition import Budgets, load, with_below
from llmobs.budgets.models import Budget
from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import utc_from_ns
from llmobs.ops.verify_money import spend as differences
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.models import Tenant
from tests.budgets.made import AT_NS, Conn, info, make_bill, make_budget, make_tenant
from tests.budgets.test_spend import billed, spend

CHAT = Attribution(feature="chat")
SEARCH = Attribution(feature="search")
COUNTED = utc_from_ns(AT_NS)


def met(budgets: Budgets, who: Attribution, model: str = "gpt-4o") -> list[int]:
    return [each.budget.id for each in budgets.applying(7, who, model, "openai", AT_NS)]


def test_a_parent_applies_where_any_budget_below_it_does() -> None:
    top = info(id=1, scope=(("model", "gpt-4o"),))
    middle = info(id=2, scope=(("feature", "chat"),), parent_id=1)
    below = info(id=3, scope=(("feature", "search"), ("user", "*")), parent_id=2)
    budgets = Budgets(with_below([top, middle, below]))
    assert met(budgets, CHAT) == [1, 2]
    assert met(budgets, CHAT, "other") == [1, 2]
    assert met(budgets, SEARCH, "other") == [1, 2, 3]
    assert met(budgets, Attribution(feature="else"), "other") == []


def test_a_parent_for_each_value_holds_the_calls_of_its_children_by_value() -> None:
    top, below = info(id=1, scope=(("feature", "x"), ("user", "*"))), info(id=2, scope=CHAT_SCOPE, parent_id=1)
    ann = Attribution(feature="chat", user_id="ann")
    found = Budgets(with_below([top, below])).applying(7, ann, "gpt-4o", "openai", AT_NS)
    assert [(each.budget.id, each.value) for each in found] == [(1, "ann"), (2, "")]


CHAT_SCOPE = (("feature", "chat"),)


def test_a_cycle_in_plain_sql_is_no_endless_loop() -> None:
    a, b = info(id=1, scope=CHAT_SCOPE, parent_id=2), info(id=2, scope=(("feature", "search"),), parent_id=1)
    assert met(Budgets(with_below([a, b])), CHAT) == [1, 2]


def test_a_budget_of_another_tenant_is_nobodys_child() -> None:
    top, other = info(id=1, scope=CHAT_SCOPE), info(id=2, tenant_id=8, parent_id=1)
    assert met(Budgets(with_below([top, other])), SEARCH) == []


@pytest.fixture
def family(pg: Conn) -> tuple[int, int, int]:
    """A tenant with a parent of gpt-4o and a child of the feature chat."""
    tenant = make_tenant(pg)
    parent = make_budget(pg, tenant, name="all", scope='{"model": "gpt-4o"}', counted_at=COUNTED)
    child = make_budget(pg, tenant, name="chat", scope='{"feature": "chat"}', parent_id=parent, counted_at=COUNTED)
    pg.execute("UPDATE budgets_budget SET counted_at = %s", (COUNTED,))
    return tenant, parent, child


def spent(pg: Conn) -> dict[int, int]:
    budgets = load(pg)
    rows = pg.execute("SELECT budget_id, revision, spent FROM budget_spend").fetchall()
    return {
        budget_id: amount
        for budget_id, revision, amount in rows
        if (found := budgets.get(budget_id)) is not None and found.revision == revision
    }


def test_the_bills_of_a_child_are_in_its_parent_once(pg: Conn, family: tuple[int, int, int]) -> None:
    tenant, parent, child = family
    spend(pg, billed(tenant, 5, CHAT, model="other"), billed(tenant, 3, SEARCH), billed(tenant, 2, CHAT))
    assert spent(pg) == {parent: 10, child: 7}


def test_a_parent_that_is_counted_anew_counts_its_children_from_the_bills(
    pg: Conn, family: tuple[int, int, int]
) -> None:
    tenant, parent, child = family
    make_bill(pg, tenant, 5, attribution=CHAT, model="other", span_id=b"1.......")
    make_bill(pg, tenant, 3, attribution=SEARCH, model="gpt-4o", span_id=b"2.......")
    make_bill(pg, tenant, 9, attribution=SEARCH, model="other", span_id=b"3.......")
    make_budget(pg, tenant, name="search", scope='{"feature": "search"}', parent_id=child)
    assert [(info.id, info.is_counted) for info in load(pg).infos][:2] == [(parent, False), (child, False)]
    with pg.transaction():
        count_new_budgets(pg, AT_NS)
    assert spent(pg)[parent] == spent(pg)[child] == 17
    assert list(differences(pg, load(pg))) == []


@pytest.mark.parametrize("change", ['scope = \'{"feature": "other"}\'', "is_active = false", "parent_id = NULL"])
def test_a_child_that_changes_makes_its_parents_count_anew(pg: Conn, family: tuple[int, int, int], change: str) -> None:
    _, parent, child = family
    before = dict(pg.execute("SELECT id, revision FROM budgets_budget").fetchall())
    pg.execute(f"UPDATE budgets_budget SET {change} WHERE id = %s", (child,))
    after = dict(pg.execute("SELECT id, revision FROM budgets_budget").fetchall())
    assert after[parent] == before[parent] + 1
    assert pg.execute("SELECT counted_at FROM budgets_budget WHERE id = %s", (parent,)).fetchone() == (None,)


def test_a_limit_of_a_child_changes_nothing_above_it(pg: Conn, family: tuple[int, int, int]) -> None:
    *_, child = family
    before = dict(pg.execute("SELECT id, revision FROM budgets_budget").fetchall())
    pg.execute("UPDATE budgets_budget SET limit_nanousd = 7 WHERE id = %s", (child,))
    assert dict(pg.execute("SELECT id, revision FROM budgets_budget").fetchall()) == before


def budget(tenant: Tenant, name: str, **fields: Any) -> Budget:
    made = Budget(tenant=tenant, name=name, limit_nanousd=1, **fields)
    made.full_clean()
    made.save()
    return made


@pytest.mark.django_db
def test_a_parent_is_of_the_same_tenant_and_never_below_its_child() -> None:
    acme, other = (Tenant.objects.create(slug=slug, name=slug) for slug in ("acme", "other"))
    top = budget(acme, "top")
    middle = budget(acme, "middle", parent=top)
    low = budget(acme, "low", parent=middle)
    for child, parent in ((top, low), (top, top), (low, budget(other, "theirs"))):
        child.parent = parent
        with pytest.raises(ValidationError, match="parent"):
            child.full_clean()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": "93d"}, "none of"),
        ({"window": "fortnight"}, "none of"),
        ({"scope": {"tenant": "other"}}, "its own tenant"),
        ({"scope": {"team": "a"}}, "no dimension"),
        ({"action": "static"}, "The text is given"),
        ({"static_text": "Later."}, "The text is given"),
        ({"action": "block", "downgrade_to": "small"}, "downgrade alone"),
        ({"action": "throttle"}, "not a valid choice"),
    ],
)
def test_what_cannot_be_kept_is_refused(fields: dict[str, Any], message: str) -> None:
    acme = Tenant.objects.create(slug="acme", name="acme")
    with pytest.raises(ValidationError, match=message):
        Budget(tenant=acme, name="x", limit_nanousd=1, **fields).full_clean()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"window": "7d", "scope": {"tenant": "acme", "user": "*"}},
        {"scope": {"prompt": "*", "feature": "chat"}},
        {"action": "static", "static_text": "Later."},
        {"action": "downgrade", "downgrade_to": "small"},
        {"action": "cache_only"},
    ],
)
def test_what_can_be_kept_is_taken(fields: dict[str, Any]) -> None:
    acme = Tenant.objects.create(slug="acme", name="acme")
    Budget(tenant=acme, name="x", limit_nanousd=1, **fields).full_clean()
