"""Security events over REST and in the admin: whose they are, and how they are narrowed."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from llmobs.guards.models import SecurityEvent
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

API = "/api/v1/security-events/"
TRACE = bytes(range(16))


@pytest.fixture
def cast(db: None) -> Cast:
    made = make_cast()
    for number, (tenant, kind, action) in enumerate(
        [
            (made.acme, "injection", "blocked"),
            (made.acme, "personal_data", "masked"),
            (made.acme, "personal_data", "logged"),
            (made.globex, "secret", "blocked"),
        ],
        1,
    ):
        SecurityEvent.objects.create(
            id=number, tenant=tenant, at=datetime(2026, 11, number, tzinfo=UTC), trace_id=TRACE, span_id=TRACE[:8],
            kind=kind, place="input", action=action, name="email", score_permille=900, count=2,
            fingerprint=f"{number:032x}", feature="support", model="gpt-4o-mini",
        )  # fmt: skip
    return made


def ids(client: object, query: str = "") -> list[int]:
    return [row["id"] for row in client.get(f"{API}{query}").json()["results"]]  # type: ignore[attr-defined]


def test_a_tenant_sees_its_own_newest_first(cast: Cast) -> None:
    assert ids(with_key("acme")) == [3, 2, 1]
    assert ids(as_person(cast.bob)) == [3, 2, 1]
    row = with_key("acme").get(API).json()["results"][0]
    assert row == {
        "id": 3, "at": "2026-11-03T00:00:00Z", "tenant": "acme", "trace_id": TRACE.hex(), "span_id": TRACE[:8].hex(),
        "kind": "personal_data", "where": "input", "action": "logged", "name": "email", "score": 0.9, "count": 2,
        "fingerprint": f"{3:032x}", "feature": "support", "model": "gpt-4o-mini",
    }  # fmt: skip


def test_a_stranger_gets_nothing(cast: Cast) -> None:
    assert ids(as_person(cast.charlie)) == [4]
    assert ids(with_key("globex")) == [4]
    assert_problem(with_key("globex").get(f"{API}1/"), 404)
    assert_problem(with_key("globex").get(f"{API}?tenant=acme"), 404)


def test_an_operator_sees_all_and_narrows(cast: Cast) -> None:
    make_key(None, "ops", "operator")
    operator = with_key("operator")
    assert ids(operator) == [4, 3, 2, 1]
    assert ids(operator, "?tenant=globex") == [4]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?kind=injection", [1]),
        ("?action=masked", [2]),
        ("?where=input&kind=personal_data", [3, 2]),
        ("?where=output", []),
        (f"?fingerprint={2:032x}", [2]),
        (f"?trace_id={TRACE.hex()}", [3, 2, 1]),
        ("?from=2026-11-02&to=2026-11-03", [2]),
        ("?feature=support&name=email", [3, 2, 1]),
    ],
)
def test_a_list_is_narrowed(cast: Cast, query: str, expected: list[int]) -> None:
    assert ids(with_key("acme"), query) == expected


def test_an_id_that_is_none_is_the_callers_mistake(cast: Cast) -> None:
    assert_problem(with_key("acme").get(f"{API}?trace_id=xyz"), 400)


def test_nobody_writes_an_event(cast: Cast) -> None:
    make_key(None, "ops", "operator")
    for method in ("post", "put", "patch", "delete"):
        assert getattr(with_key("operator"), method)(API).status_code == 405


def test_pages_follow_and_a_list_is_one_query_besides_those_of_the_key(cast: Cast) -> None:
    client = with_key("acme")
    with CaptureQueriesContext(connection) as asked:
        first = client.get(f"{API}?limit=2").json()
    assert sum("security_event" in query["sql"] for query in asked) == 1
    assert [row["id"] for row in first["results"]] == [3, 2]
    assert [row["id"] for row in client.get(first["next"]).json()["results"]] == [1]


def test_the_admin_lists_and_shows_them_to_be_read(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.olga)
    assert TRACE.hex() in client.get("/admin/guards/securityevent/").content.decode()
    assert client.get("/admin/guards/securityevent/1/change/").status_code == 200
    assert client.get("/admin/guards/securityevent/add/").status_code == 403
