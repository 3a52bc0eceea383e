"""A person raises or releases a budget: for a window or for good, told in the trail, had by the ledger's next hold."""

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.core.exceptions import ValidationError
from django.test import Client

from llmobs.budgets import ledger
from llmobs.budgets.definition import Raise as Row
from llmobs.budgets.definition import apply_at, load
from llmobs.budgets.easing import By, lasts, raise_limit, release
from llmobs.budgets.ledger import Exhausted, Granted
from llmobs.budgets.models import Budget, Raise
from llmobs.tenants.config_version import config_version
from llmobs.tenants.models import AuditEntry
from tests.budgets.made import AT_S, Conn, info, open_ledger, reserve
from tests.tenants.cast import Cast, make_cast

NOW = datetime.fromtimestamp(AT_S, UTC)
DAY_S = 86_400
WHY = "the campaign goes on"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def budget(cast: Cast) -> Budget:
    return Budget.objects.create(tenant=cast.acme, name="daily", limit_nanousd=1000, window="day")


def asked(pg: Conn, at_s: int = AT_S, value: str = "") -> tuple[int, str]:
    """What a gateway tells the ledger of the budget's limit: how much, and whether it may refuse."""
    (found,) = load(pg).infos
    applied = apply_at(found, value, at_s)
    return applied.limit, applied.words[1]


def test_a_raise_of_this_window_ends_with_it_and_nobody_takes_it_back(pg: Conn, budget: Budget) -> None:
    raise_limit(budget, By(amount=500), "ann", WHY, NOW)
    assert raise_limit(budget, By(percent=25), "ann", WHY, NOW) == 250
    assert asked(pg) == (1750, "b")
    assert asked(pg, AT_S + DAY_S) == (1000, "b")


def test_a_release_refuses_nothing_until_the_window_ends(pg: Conn, valkey: redis.Redis, budget: Budget) -> None:
    release(budget, "ann", WHY, NOW)
    assert [asked(pg)[1], asked(pg, AT_S + DAY_S)[1]] == ["a", "b"]
    (found,) = load(pg).infos
    today, tomorrow = apply_at(found, "", AT_S), apply_at(found, "", AT_S + DAY_S)
    open_ledger(valkey, today)
    assert reserve(valkey, "a" * 16, (today, 5000)) == Granted((-4000,))
    assert reserve(valkey, "b" * 16, (tomorrow, 5000)) == Exhausted(0, 0, 0, 0)


def test_a_lasting_raise_is_a_new_limit(pg: Conn, budget: Budget) -> None:
    raise_limit(budget, By(percent=10), "ann", WHY, NOW, is_lasting=True)
    assert (asked(pg), Raise.objects.count()) == ((1100, "b"), 0)


def test_one_value_is_raised_and_the_others_are_not(pg: Conn, budget: Budget) -> None:
    Budget.objects.update(scope={"user": "*"})
    budget.refresh_from_db()
    raise_limit(budget, By(amount=500), "ann", WHY, NOW, value="bob")
    assert [asked(pg, value="bob")[0], asked(pg, value="eve")[0]] == [1500, 1000]


def test_of_rolling_days_it_lasts_as_many_days(pg: Conn, budget: Budget) -> None:
    Budget.objects.update(window="7d")
    budget.refresh_from_db()
    raise_limit(budget, By(amount=500), "ann", WHY, NOW)
    assert [asked(pg, AT_S + days * DAY_S)[0] for days in (-1, 0, 6, 7)] == [1000, 1500, 1500, 1000]


def test_of_a_lifetime_it_never_ends() -> None:
    assert lasts("total", "UTC", NOW)[1] > AT_S + 1000 * 365 * DAY_S


def test_the_trail_says_who_from_what_to_what_and_why(budget: Budget) -> None:
    raise_limit(budget, By(amount=500), "ann", WHY, NOW)
    release(budget, "bob", "it is Friday", NOW)
    told = list(AuditEntry.objects.order_by("id").values_list("actor", "action", "name", "change"))
    assert [entry[:3] for entry in told] == [("ann", "raise", "acme/daily"), ("bob", "release", "acme/daily")]
    assert told[0][3] == {
        "limit": ["0.000001 USD", "0.0000015 USD"],
        "holds": [None, "until 2026-11-22T00:00+00:00"],
        "reason": [None, WHY],
    }
    assert told[1][3]["limit"] == ["0.000001 USD", "released"]


def test_gateways_are_told_by_the_version_of_the_configuration(pg: Conn, budget: Budget) -> None:
    before = config_version(pg)
    release(budget, "ann", WHY, NOW)
    assert config_version(pg) > before
    assert load(pg).infos[0].revision == budget.revision  # what is counted stays


@pytest.mark.parametrize(
    ("by", "reason", "value", "message"),
    [
        (By(), WHY, None, "one of the two"),
        (By(amount=1, percent=1), WHY, None, "one of the two"),
        (By(percent=0), WHY, None, "From 1 to"),
        (By(amount=0), WHY, None, "More than nothing"),
        (By(amount=9 * 10**15), WHY, None, "no limit above"),
        (By(amount=1), "  ", None, "Say why"),
        (By(amount=1), WHY, "bob", "not one for each value"),
    ],
)
def test_what_makes_no_sense_changes_nothing(
    budget: Budget, by: By, reason: str, value: str | None, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        raise_limit(budget, by, "ann", reason, NOW, value)
    assert Raise.objects.count() == AuditEntry.objects.count() == 0


def test_what_was_raised_is_in_the_limit_as_pages_show_it() -> None:
    more, free, other = (
        (AT_S - 100_000, AT_S + 100_000, None, 50),
        (AT_S - 100_000, AT_S + 100_000, None, None),
        (AT_S - 100_000, AT_S + 100_000, "bob", 7),
    )
    raised = info(100, raises=(Row(*more), Row(*other))).at(AT_S)
    assert (raised.limit, raised.raises) == (150, (Row(*other),))
    released = info(100, raises=(Row(*free),)).at(AT_S)
    assert (released.limit, released.is_blocking) == (100, False)


# ---------------------------------------------------------------- the doors


def client_of(cast: Cast, name: str) -> Client:
    client = Client()
    client.force_login(getattr(cast, name))
    return client


def posted(client: Client, path: str, **fields: Any) -> Any:
    return client.post(f"/api/v1/{path}", {"reason": WHY, **fields}, content_type="application/json")


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("olga", 200), ("bob", 403), ("charlie", 404)])
@pytest.mark.parametrize(("verb", "fields"), [("raise", {"amount_usd": "0.5"}), ("release", {})])
def test_over_rest_admins_of_the_tenant_and_operators_may(
    cast: Cast, budget: Budget, who: str, status: int, verb: str, fields: dict[str, Any]
) -> None:
    assert posted(client_of(cast, who), f"budgets/{budget.pk}/{verb}/", **fields).status_code == status
    assert Raise.objects.count() == (status == 200)


def test_over_rest_a_lasting_raise_answers_the_new_limit(cast: Cast, budget: Budget) -> None:
    answer = posted(client_of(cast, "alice"), f"budgets/{budget.pk}/raise/", percent=100, lasting=True)
    assert answer.json()["limit_usd"] == "0.000002"


@pytest.mark.parametrize("fields", [{}, {"amount_tokens": 5}, {"percent": 5, "reason": ""}, {"amount_usd": "much"}])
def test_over_rest_what_makes_no_sense_is_told(cast: Cast, budget: Budget, fields: dict[str, Any]) -> None:
    answer = posted(client_of(cast, "alice"), f"budgets/{budget.pk}/raise/", **fields)
    assert (answer.status_code, answer["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("olga", 302), ("bob", 403), ("charlie", 404)])
def test_the_buttons_of_the_page_do_it(cast: Cast, budget: Budget, who: str, status: int) -> None:
    answer = client_of(cast, who).post(f"/budgets/{budget.pk}/ease/", {"do": "raise", "percent": "50", "reason": WHY})
    assert answer.status_code == status
    assert list(Raise.objects.values_list("amount", flat=True)) == ([500] if status == 302 else [])


def test_the_page_shows_what_was_done_and_what_was_not(cast: Cast, budget: Budget) -> None:
    alice = client_of(cast, "alice")
    alice.post(f"/budgets/{budget.pk}/ease/", {"do": "release", "reason": WHY})
    answer = alice.post(f"/budgets/{budget.pk}/ease/", {"do": "raise", "amount": "lots", "reason": WHY}, follow=True)
    page = answer.content.decode()
    assert "Released" in page
    assert WHY in page
    assert "lots is no amount." in page
    assert "lots is no amount." not in alice.get("/budgets/").content.decode()


def test_the_buttons_are_for_those_who_may(cast: Cast, budget: Budget) -> None:
    assert "Release until the window ends" in client_of(cast, "alice").get("/budgets/").content.decode()
    assert "Release until the window ends" not in client_of(cast, "bob").get("/budgets/").content.decode()


def test_children_are_shown_below_their_parents(cast: Cast, budget: Budget) -> None:
    child = Budget.objects.create(tenant=cast.acme, name="a child", limit_nanousd=1, parent=budget)
    Budget.objects.create(tenant=cast.acme, name="grandchild", limit_nanousd=1, parent=child)
    Budget.objects.create(tenant=cast.acme, name="other", limit_nanousd=1)
    found = client_of(cast, "alice").get("/budgets/").context["budgets"]
    shown = [(figure.name, figure.depth) for figure in found]
    at = shown.index(("daily", 0))
    assert shown[at : at + 3] == [("daily", 0), ("a child", 1), ("grandchild", 2)]
    assert ("other", 0) in shown


def test_the_admin_has_the_same_as_actions(cast: Cast, budget: Budget) -> None:
    olga = client_of(cast, "olga")
    for action in ("release_now", "raise_now"):
        answer = olga.post("/admin/budgets/budget/", {"action": action, "_selected_action": [budget.pk]}, follow=True)
        assert answer.status_code == 200
    assert sorted(Raise.objects.values_list("amount", flat=True), key=str) == [100, None]
    assert AuditEntry.objects.filter(actor="olga").count() == 2


def test_the_ledger_is_the_same_key_with_and_without_a_raise(pg: Conn, budget: Budget) -> None:
    (before,) = load(pg).infos
    raise_limit(budget, By(amount=500), "ann", WHY, NOW)
    (after,) = load(pg).infos
    assert apply_at(before, "", AT_S).key == apply_at(after, "", AT_S).key
    assert ledger.key_parts(apply_at(after, "", AT_S).key) is not None
