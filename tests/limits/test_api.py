"""Limits over REST and in the admin: who sees them, who sets them, what is refused."""

import pytest

from llmobs.limits.models import Limit
from llmobs.tenants.models import AuditEntry
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, with_key

LIMITS = "/api/v1/limits/"
MINE = {"tenant": "acme", "unit": "requests", "per": "minute", "limit": 60, "scope": {"key": "*"}}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def test_a_limit_is_made_changed_told_and_deleted(cast: Cast) -> None:
    client = as_person(cast.alice)
    made = client.post(LIMITS, MINE, format="json").json()
    changed = client.patch(f"{LIMITS}{made['id']}/", {"limit": 90}, format="json").json()

    assert (made["tenant"], made["unit"], made["per"], made["limit"]) == ("acme", "requests", "minute", 60)
    assert (changed["limit"], changed["scope"]) == (90, {"key": "*"})
    assert AuditEntry.objects.get(action="change").change == {"limit": [60, 90]}
    assert client.delete(f"{LIMITS}{made['id']}/").status_code == 204
    assert not Limit.objects.exists()


def test_a_stranger_gets_nothing_and_a_key_reads_alone(cast: Cast) -> None:
    made = as_person(cast.alice).post(LIMITS, MINE, format="json").json()
    one = f"{LIMITS}{made['id']}/"

    for stranger in (as_person(cast.charlie), with_key("globex")):
        assert stranger.get(LIMITS).json()["results"] == []
        assert_problem(stranger.get(one), 404)
        assert_problem(stranger.patch(one, {"limit": 10**6}, format="json"), 404)
        assert_problem(stranger.delete(one), 404)
    assert_problem(as_person(cast.charlie).post(LIMITS, MINE, format="json"), 400)
    assert with_key("acme").get(one).json()["limit"] == 60
    assert_problem(with_key("acme").patch(one, {"limit": 10**6}, format="json"), 403)
    assert_problem(as_person(cast.bob).delete(one), 403)


def test_limits_for_all_are_the_operators(cast: Cast) -> None:
    shared = {**MINE, "tenant": None, "scope": {"ip": "*"}}
    assert_problem(as_person(cast.alice).post(LIMITS, shared, format="json"), 403)

    made = as_person(cast.olga).post(LIMITS, shared, format="json").json()

    assert made["tenant"] is None
    assert with_key("acme").get(LIMITS).json()["results"] == []
    assert_problem(with_key("acme").get(f"{LIMITS}{made['id']}/"), 404)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"unit": "words"}, "unit"),
        ({"per": "week"}, "per"),
        ({"per": ""}, "counted per minute, hour or day"),
        ({"limit": -1}, "between 0 and"),
        ({"limit": 10**14}, "between 0 and"),
        ({"scope": {"colour": "red"}}, "no dimension"),
        ({"scope": {"tenant": "acme"}}, "no dimension"),
        ({"scope": {"key": "nobody"}}, "no key named"),
        ({"scope": {"user": ""}}, "a value"),
        ({"tenant": "globex"}, "tenant"),
    ],
)
def test_a_wrong_limit_is_refused_and_says_why(cast: Cast, wrong: dict[str, object], told: str) -> None:
    answer = as_person(cast.alice).post(LIMITS, {**MINE, **wrong}, format="json")
    assert told in str(assert_problem(answer, 400))


def test_there_is_one_limit_of_a_kind(cast: Cast) -> None:
    client = as_person(cast.alice)
    client.post(LIMITS, MINE, format="json")
    assert_problem(client.post(LIMITS, {**MINE, "limit": 61}, format="json"), 400)
    assert client.post(LIMITS, {**MINE, "scope": {"user": "*"}}, format="json").status_code == 201


@pytest.mark.parametrize(
    ("unit", "given", "kept"),
    [("concurrent", "", ""), ("concurrent", "minute", ""), ("input_tokens", "", "request")],
)
def test_a_unit_with_one_period_needs_none(cast: Cast, unit: str, given: str, kept: str) -> None:
    made = as_person(cast.alice).post(LIMITS, {**MINE, "unit": unit, "per": given}, format="json").json()
    assert made["per"] == kept


def test_the_admin_lists_and_changes_them(cast: Cast) -> None:
    operator = as_person(cast.olga)
    limit = Limit.objects.create(tenant=cast.acme, unit="tokens", per="day", limit=500, scope={"user": "*"})
    assert "500 tokens per day, user *" in operator.get("/admin/limits/limit/").content.decode()
    form = {"unit": "tokens", "per": "day", "limit": "700", "scope": '{"user": "*"}', "is_active": "on", "name": ""}
    assert operator.post(f"/admin/limits/limit/{limit.pk}/change/", form).status_code == 302
    limit.refresh_from_db()
    assert (limit.limit, AuditEntry.objects.get().change) == (700, {"limit": [500, 700]})
