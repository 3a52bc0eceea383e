"""Figures from a replica: a real one that streams, lags, breaks off, is killed and comes back."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import psycopg
import pytest
from django.db import OperationalError, connections
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboards import reading
from llmobs.ops.checklist import State
from llmobs.ops.checklist_hosts import past_one_machine
from llmobs.settings import database
from tests.replicas import Replica
from tests.stores import Stores

if TYPE_CHECKING:
    from tests.dashboards.cast import Cast

FIGURES = ("rollup_delta", "rollup_hour", "rollup_minute", "FROM trace", "FROM bill", "FROM span", "FROM conformance")
PAGES = ("/traces/", "/costs/", "/usage/", "/conformance/", "/unpriced/")
ADDRESSES = (
    "/api/v1/traces/?last=24h", "/api/v1/metrics/?metric=cost_usd,requests&group_by=model", "/api/v1/usage/?last=24h",
    "/api/v1/usage/?last=24h&format=csv", "/api/v1/unpriced/", "/api/v1/explain/?last=24h", "/api/v1/conformance/",
)  # fmt: skip
CHANGE = "INSERT INTO heartbeat (owner, kind, host, pid, config_version) VALUES (%s, 'writer', 'h', 1, 1)"


@pytest.fixture(scope="module")
def server(migrated: Stores) -> Iterator[Replica]:
    """The replica of this module's tests, running."""
    replica = Replica(migrated)
    replica.start()
    yield replica
    replica.stop()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """As if READ_DATABASE_URL had been set."""
    monkeypatch.setitem(connections.settings, reading.REPLICA, database(url, 0))
    connections.configure_settings(connections.settings)
    monkeypatch.setattr(reading.away, "until", 0.0)
    store = connections[reading.REPLICA]

    def connect() -> None:
        """Django's own, which its test cases let nobody call for a store that they did not make."""
        if store.connection is None:
            with store.wrap_database_errors:
                store.connect()

    monkeypatch.setattr(store, "ensure_connection", connect)


@pytest.fixture
def replica(server: Replica, cast: "Cast", monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    """The same, with the cast's traffic in it, and the web told of it."""
    use(monkeypatch, server.url)
    server.catch_up()
    yield server
    connections[reading.REPLICA].close()
    del connections[reading.REPLICA]


@pytest.fixture
def held(replica: Replica, pg: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    """It lags: something was written that it does not show."""
    monkeypatch.setattr(reading, "LATE_AFTER", timedelta())
    replica.hold()
    pg.execute("SET synchronous_commit = on")  # only what is flushed is sent
    pg.execute(CHANGE, ("late",))
    yield replica
    replica.go_on()


def asked_of_primary(client: Client, address: str) -> tuple[Any, list[str]]:
    with CaptureQueriesContext(connections["default"]) as asked:
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)
        response.getvalue()
    return response, [query["sql"] for query in asked if any(name in query["sql"] for name in FIGURES)]


@pytest.mark.parametrize("address", [*PAGES, *ADDRESSES])
def test_figures_are_not_asked_of_the_primary(address: str, replica: Replica, cast: "Cast") -> None:
    response, asked = asked_of_primary(cast.as_(cast.alice), address)
    assert asked == []
    assert "x-llmobs-as-of" not in response


def test_the_overview_asks_the_primary_of_budgets_alone(replica: Replica, cast: "Cast") -> None:
    with patch("dashboards.views.overview.budget_figures", return_value=[]):
        assert asked_of_primary(cast.as_(cast.alice), "/")[1] == []


def test_both_stores_give_the_same_figures(replica: Replica, cast: "Cast", monkeypatch: pytest.MonkeyPatch) -> None:
    client, address = cast.as_(cast.alice), ADDRESSES[1]
    there = client.get(address).json()["results"]
    monkeypatch.setattr(reading.away, "until", float("inf"))
    assert client.get(address).json()["results"] == there != []


def test_a_lagging_replica_says_up_to_when_its_figures_are_whole(held: Replica, cast: "Cast") -> None:
    alice = cast.as_(cast.alice)
    page = alice.get("/")
    assert "behind by" in page.content.decode()
    assert "Figures are behind" in page.content.decode()
    assert page.context["frame"]["fresh"].replicated_at < page.context["visit"].now
    assert alice.get(ADDRESSES[0])["x-llmobs-as-of"].endswith("Z")


def test_who_follows_a_lagging_replica_is_level_again_when_it_has_caught_up(held: Replica, cast: "Cast") -> None:
    alice = cast.as_(cast.alice)
    assert alice.get("/").context["frame"]["fresh"].replicated_at is not None
    held.go_on()
    assert alice.get("/").context["frame"]["fresh"].replicated_at is None


def test_an_idle_primary_is_no_lagging_replica(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LATE_AFTER", timedelta(days=-1))  # by the time of its last change it would be
    replica.until(lambda: reading._choose("").as_of is None)


def test_who_changed_something_sees_it_at_once_and_others_go_on_reading_the_replica(
    held: Replica, cast: "Cast"
) -> None:
    alice, bob = cast.as_(cast.alice), cast.as_(cast.alice)
    alice.post("/theme/", {"theme": "dark"})
    assert reading.is_place(alice.cookies[reading.WROTE_COOKIE].value)
    assert alice.get("/costs/").context["frame"]["fresh"].replicated_at is None
    assert asked_of_primary(alice, "/costs/")[1] != []
    assert asked_of_primary(bob, "/costs/")[1] == []
    held.go_on()
    assert asked_of_primary(alice, "/costs/")[1] == []


@pytest.mark.parametrize("address", ["/", ADDRESSES[0], ADDRESSES[1]])
def test_a_replica_that_breaks_off_is_answered_for_by_the_primary(
    address: str, replica: Replica, cast: "Cast", monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = reading._choose

    def then_ended(wrote: str) -> reading.Source:
        source = choose(wrote)
        replica.end_sessions()
        return source

    monkeypatch.setattr(reading, "_choose", then_ended)
    response, asked = asked_of_primary(cast.as_(cast.alice), address)
    assert asked != []
    assert "cannot be read" not in response.content.decode()


def test_a_replica_that_was_killed_is_left_alone_until_it_is_back(replica: Replica, cast: "Cast") -> None:
    alice = cast.as_(cast.alice)
    replica.kill()
    try:
        assert asked_of_primary(alice, "/costs/")[1] != []
        assert reading.away.until > 0
        assert asked_of_primary(alice, "/costs/")[1] != []
    finally:
        replica.start()
    reading.away.until = 0.0
    assert asked_of_primary(alice, "/costs/")[1] == []


def test_a_question_that_is_refused_is_not_the_replicas_fault(replica: Replica) -> None:
    request = HttpRequest()
    assert reading.source_of(request).alias == reading.REPLICA
    slow = OperationalError("too slow")
    slow.__cause__ = psycopg.errors.QueryCanceled()
    assert not reading.is_replicas_fault(request, slow)
    assert reading.is_replicas_fault(request, OperationalError("lost"))


def test_an_address_of_a_server_that_is_no_replica_is_not_read_from(
    cast: "Cast", database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, database_url)
    assert asked_of_primary(cast.as_(cast.alice), "/costs/")[1] != []
    connections[reading.REPLICA].close()
    del connections[reading.REPLICA]


def row() -> tuple[State, str]:
    [item] = [item for item in past_one_machine() if item.what == "a replica that figures are read from"]
    return item.state, item.how


def test_the_doctor_looks_at_the_replica(replica: Replica) -> None:
    state, told = row()
    assert (state, told.endswith(" s behind")) == (State.SET, True)


def test_the_doctor_says_of_a_replica_that_is_none_or_away(
    cast: "Cast", database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, database_url)
    assert row() == (State.MISSING, "READ_DATABASE_URL is no replica of DATABASE_URL: pages do not use it")
    connections[reading.REPLICA].close()
    monkeypatch.setattr(connections[reading.REPLICA], "ensure_connection", Mock(side_effect=OperationalError))
    assert row() == (State.MISSING, "READ_DATABASE_URL does not answer (OperationalError)")
    del connections[reading.REPLICA]


def test_without_a_replica_nobody_gets_a_cookie_for_it(cast: "Cast") -> None:
    alice = cast.as_(cast.alice)
    alice.post("/theme/", {"theme": "dark"})
    assert reading.WROTE_COOKIE not in alice.cookies


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("16/B374D848", True), ("0/0", True), ("", False), ("16", False), ("1/2/3", False), ("x/1", False),
     ("123456789/1", False), ("1/", False)],
)  # fmt: skip
def test_a_cookie_holds_a_place_in_the_log_or_nothing(text: str, is_one: bool) -> None:
    assert reading.is_place(text) is is_one
