"""S2-02: runaways over REST: whose they are, and who may release them."""

from datetime import UTC, datetime, timedelta

import pytest
import redis

from llmobs.brake import board, pauses
from llmobs.brake.models import BrakedSession
from llmobs.tenants.models import AuditEntry
from llmobs.tenants.plain_connection import plain_connection
from tests.brake.made import episode
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

API = "/api/v1/brake/"


@pytest.fixture
def cast(db: None) -> Cast:
    made = make_cast()
    episode(made.acme, 1)
    episode(made.acme, 2, state="slowed", until=None)
    episode(made.globex, 3)
    return made


def ids(client: object, query: str = "") -> set[str]:
    return {row["session_id"] for row in client.get(f"{API}{query}").json()["results"]}  # type: ignore[attr-defined]


def test_a_tenant_sees_its_own_with_the_evidence(cast: Cast) -> None:
    assert ids(with_key("acme")) == {"run-1", "run-2"}
    assert ids(as_person(cast.bob), "?state=paused") == {"run-1"}
    row = with_key("acme").get(f"{API}{1:016x}/").json()
    assert (row["state"], row["is_paused"], row["of"]) == ("paused", True, "session")
    assert (row["evidence"]["alike_calls"], row["evidence"]["cost_usd"], row["evidence"]["score"]) == (
        103,
        "1.04",
        1.012,
    )


def test_a_stranger_gets_nothing(cast: Cast) -> None:
    assert ids(as_person(cast.charlie)) == {"run-3"}
    for path in ("", "release/", "keep/"):
        client = as_person(cast.charlie)
        assert_problem(client.get(f"{API}{1:016x}/") if not path else client.post(f"{API}{1:016x}/{path}"), 404)
    assert BrakedSession.objects.get(pk=f"{1:016x}").state == "paused"


def test_an_admin_of_the_tenant_releases_it_and_the_trail_says_so(cast: Cast, valkey: redis.Redis) -> None:
    name = board.key(cast.acme.pk, f"{1:032x}")
    valkey.hset(name, "#", "x 1 y")
    row = as_person(cast.alice).post(f"{API}{1:016x}/release/").json()
    assert (row["state"], row["is_paused"], row["ended_by"]) == ("released", False, "alice")
    assert not valkey.exists(name)
    entry = AuditEntry.objects.get(action="release")
    assert (entry.actor, entry.tenant, entry.change["state"]) == ("alice", cast.acme, ["paused", "released"])
    assert_problem(as_person(cast.alice).post(f"{API}{1:016x}/release/"), 409)


def test_every_pause_of_the_session_ends_with_it(cast: Cast, valkey: redis.Redis) -> None:
    """Two gateways may have paused it at once."""
    episode(cast.acme, 4, mark=f"{1:032x}")
    as_person(cast.alice).post(f"{API}{1:016x}/release/")
    assert BrakedSession.objects.filter(state="released").count() == 2


def test_a_viewer_and_a_key_release_nothing(cast: Cast) -> None:
    for client in (as_person(cast.bob), with_key("acme")):
        assert_problem(client.post(f"{API}{1:016x}/release/"), 403)
        assert_problem(client.post(f"{API}{1:016x}/keep/"), 403)
    assert not AuditEntry.objects.filter(action="release").exists()


def test_an_operator_keeps_it_paused(cast: Cast) -> None:
    make_key(None, "ops", "operator")
    before = BrakedSession.objects.get(pk=f"{1:016x}").until
    row = with_key("operator").post(f"{API}{1:016x}/keep/").json()
    assert row["is_paused"]
    kept = BrakedSession.objects.get(pk=f"{1:016x}")
    assert kept.until is not None
    assert before is not None
    assert (kept.until - before).days >= 28
    assert AuditEntry.objects.get(action="keep paused").kind == "braked session"


def test_marks_are_checked_where_they_are_set(cast: Cast) -> None:
    make_key(None, "ops", "operator")
    client = with_key("operator")
    for wrong in ({"alike_calls": 1}, {"cost_usd": "free"}, {"alike": 5}, {"cost_usd": "0"}):
        answer = client.patch("/api/v1/tenants/acme/", {"brake_marks": wrong}, format="json")
        assert "brake_marks" in str(assert_problem(answer, 400))
    answer = client.patch(
        "/api/v1/tenants/acme/", {"brake": "pause", "brake_marks": {"alike_calls": 50}}, format="json"
    )
    assert (answer.status_code, answer.json()["brake"]) == (200, "pause")


def test_one_tenants_very_many_pauses_take_no_others_place(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "MOST_LOADED", 2)
    BrakedSession.objects.filter(tenant=cast.globex).update(changed_at=datetime.now(UTC) - timedelta(hours=1))
    episode(cast.acme, 4)
    found = pauses.load(plain_connection())
    assert sorted(info.tenant_id for info in found) == sorted([cast.acme.pk, cast.globex.pk])
