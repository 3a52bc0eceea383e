"""Prompts over REST: their whole life, and nothing of it for a stranger."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.prompts.spans import write_call
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, names, with_key

API = "/api/v1/prompts"
MESSAGES = [{"role": "system", "content": "Answer {{name}}, {{tone}}."}]
GREET = {"tenant": "acme", "name": "greet", "messages": MESSAGES, "variables": {"tone": "kindly"}}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def made(cast: Cast, versions: int = 2, **fields: Any) -> dict[str, Any]:
    """A prompt of acme with so many versions."""
    client = as_person(cast.alice)
    answer = client.post(f"{API}/", {**GREET, **fields}, format="json")
    assert answer.status_code == 201, answer.content
    prompt: dict[str, Any] = answer.json()
    for number in range(2, versions + 1):
        written = client.post(f"{API}/{prompt['id']}/versions/", {"text": f"Version {number}, {{{{name}}}}"}, "json")
        assert written.status_code == 201, written.content
    return prompt


def test_a_prompt_is_made_with_its_first_version(cast: Cast) -> None:
    """S0-51: prompts are stored and versioned in one place."""
    prompt = made(cast, versions=1, model="smart", params={"temperature": 0.2}, note="first")
    assert (prompt["current"], prompt["latest"], prompt["version"]) == (1, 1, 1)
    assert (prompt["messages"], prompt["model"], prompt["note"]) == (MESSAGES, "smart", "first")
    assert prompt["variables"] == {"name": None, "tone": "kindly"}
    assert (prompt["labels"], prompt["experiment"], prompt["params"]) == ({}, None, {"temperature": 0.2})


def test_a_version_is_read_by_number_label_current_or_latest(cast: Cast) -> None:
    """S2-19: get by id, by version, or latest."""
    prompt = made(cast, versions=3)
    client = as_person(cast.alice)
    client.post(f"{API}/{prompt['id']}/label/", {"name": "staging", "version": 2}, format="json")
    reader = with_key("acme")
    for which, number in (("2", 2), ("v2", 2), ("staging", 2), ("current", 1), ("latest", 3)):
        assert reader.get(f"{API}/{prompt['id']}/versions/{which}/").json()["number"] == number
        assert reader.get(f"{API}/{prompt['id']}/?version={which}").json()["version"] == number
    assert reader.get(f"{API}/greet/").json()["id"] == prompt["id"]
    assert reader.get(f"{API}/?name=greet").json()["results"][0]["labels"] == {"staging": 2}
    listed = reader.get(f"{API}/{prompt['id']}/versions/?limit=2").json()
    assert [(row["number"], row["is_current"]) for row in listed["results"]] == [(3, False), (2, False)]
    assert listed["next"]
    assert_problem(reader.get(f"{API}/{prompt['id']}/versions/9/"), 404)


def test_a_version_is_never_changed_and_the_current_one_is(cast: Cast) -> None:
    """S2-19: with a current one."""
    prompt = made(cast)
    client = as_person(cast.alice)
    changed = client.patch(f"{API}/{prompt['id']}/", {"messages": [{"role": "user", "content": "x"}]}, format="json")
    assert "POST the next one" in assert_problem(changed, 400)["errors"][0]["detail"]
    assert client.patch(f"{API}/{prompt['id']}/", {"current": 2}, format="json").json()["version"] == 2
    assert "no version 9" in str(assert_problem(client.patch(f"{API}/{prompt['id']}/", {"current": 9}, "json"), 400))
    assert_problem(client.patch(f"{API}/{prompt['id']}/", {"name": "other"}, format="json"), 400)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "a@b"}, "name"),
        ({"name": "3"}, "name"),
        ({"text": "both"}, "Give messages, or text"),
        ({"messages": [{"role": "user", "content": "{{#if}}"}]}, "is no variable"),
        ({"messages": "hello"}, "A list of 1 to"),
        ({"variables": ["name"]}, "An object of defaults"),
        ({"params": {"stream": True}}, "not a parameter"),
        ({"current": 2}, "one version"),
        ({"tenant": "globex"}, "tenant"),
    ],
)
def test_a_wrong_prompt_is_refused_and_the_field_named(cast: Cast, wrong: dict[str, Any], said: str) -> None:
    answer = as_person(cast.alice).post(f"{API}/", {**GREET, **wrong}, format="json")
    assert said in str(assert_problem(answer, 400))


def test_a_prompts_name_is_its_own_in_its_tenant(cast: Cast) -> None:
    made(cast)
    assert_problem(as_person(cast.alice).post(f"{API}/", GREET, format="json"), 400)
    theirs = as_person(cast.charlie).post(f"{API}/", {**GREET, "tenant": "globex"}, format="json")
    assert theirs.status_code == 201
    operator = as_person(cast.olga)
    assert "name one" in str(assert_problem(operator.get(f"{API}/greet/"), 400))
    assert operator.get(f"{API}/greet/?tenant=globex").json()["id"] == theirs.json()["id"]


def test_a_test_is_started_read_promoted_and_kept(cast: Cast) -> None:
    """S2-22: promoted with its results; S2-21: its start is told."""
    prompt = made(cast)
    client, address = as_person(cast.alice), f"{API}/{prompt['id']}"
    started = client.post(f"{address}/experiment/", {"variant": 2, "control_percentage": 80}, format="json")
    assert started.status_code == 201
    assert started.json()["variants"] == [{"version": 2, "percentage": 20.0}]
    assert (started.json()["control_percentage"], started.json()["results"]) == (80.0, None)
    write_call(cast.acme.pk, "greet@2", datetime.now(UTC))
    running = client.get(f"{address}/experiment/").json()
    assert [(arm["arm"], arm["calls"]) for arm in running["results"]["arms"]] == [("control", 0), ("variant", 1)]
    assert client.get(f"{address}/").json()["experiment"]["id"] == running["id"]
    assert_problem(client.post(f"{address}/experiment/", {"variant": 2}, format="json"), 409)
    assert_problem(client.patch(f"{address}/", {"current": 2}, format="json"), 409)
    assert_problem(client.delete(f"{address}/"), 409)

    ended = client.post(f"{address}/promote/", {}, format="json").json()

    assert (ended["winner"], ended["results"]["arms"][1]["calls"]) == (2, 1)
    shown = client.get(f"{address}/").json()
    assert (shown["current"], shown["experiment"]) == (2, None)
    assert client.get(f"{address}/experiments/").json()["results"] == [ended]
    assert_problem(client.post(f"{address}/promote/", {}, format="json"), 409)
    assert_problem(client.get(f"{address}/experiment/"), 404)
    assert client.post(f"{address}/rollback/").json()["current"] == 1
    assert_problem(client.post(f"{address}/rollback/"), 409)
    actions = [row["action"] for row in client.get("/api/v1/audit/").json()["results"]]
    assert actions == ["rollback", "promote", "end_test", "start_test", "create", "create", "create"]


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_test_is_stopped_and_nothing_else_changes(cast: Cast, method: str) -> None:
    prompt = made(cast)
    client, address = as_person(cast.alice), f"{API}/{prompt['id']}/experiment/"
    client.post(address, {"variants": [{"version": 2, "percentage": 10}]}, format="json")
    ended = client.delete(address).json() if method == "delete" else client.post(f"{address}stop/").json()
    assert (ended["winner"], ended["ended_at"] is not None, len(ended["results"]["arms"])) == (None, True, 2)
    assert client.get(f"{API}/{prompt['id']}/").json()["current"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"variant": 2, "variants": [{"version": 2}]},
        {"variant": 9},
        {"variant": 1},
        {"variants": [{"version": 2, "percentage": 70}], "control_percentage": 70},
        {"variant": 2, "control_percentage": 50.123},
    ],
)
def test_a_test_that_cannot_be_is_refused(cast: Cast, wrong: dict[str, Any]) -> None:
    prompt = made(cast)
    assert_problem(as_person(cast.alice).post(f"{API}/{prompt['id']}/experiment/", wrong, format="json"), 400)


def test_results_are_told_by_version_over_a_window(cast: Cast) -> None:
    """S0-51: what each version costs and how good it is stands beside it."""
    prompt = made(cast)
    now = datetime.now(UTC)
    write_call(cast.acme.pk, "greet@1", now - timedelta(minutes=5), cost_nanousd=2_000_000_000)
    write_call(cast.acme.pk, "greet@1", now - timedelta(days=2))
    write_call(cast.globex.pk, "greet@1", now - timedelta(minutes=5))
    since = (now - timedelta(hours=1)).isoformat()
    told = with_key("acme").get(f"{API}/{prompt['id']}/results/", {"from": since}).json()
    assert [(row["version"], row["calls"], row["cost_usd"]) for row in told["versions"]] == [(2, 0, "0"), (1, 1, "2")]
    assert told["versions"][1]["p95_ms"] == 100.0
    longer = with_key("acme").get(f"{API}/{prompt['id']}/results/").json()
    assert longer["versions"][1]["calls"] == 2
    assert_problem(with_key("acme").get(f"{API}/{prompt['id']}/results/?from=never"), 400)


CHANGES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("patch", "", {"current": 2}),
    ("delete", "", None),
    ("post", "versions/", {"text": "x"}),
    ("post", "label/", {"name": "staging", "version": 1}),
    ("post", "experiment/", {"variant": 2}),
    ("delete", "experiment/", None),
    ("post", "experiment/stop/", None),
    ("post", "promote/", {}),
    ("post", "rollback/", None),
)
READS = ("", "versions/", "versions/1/", "experiment/", "experiments/", "results/")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_stranger_changes_nothing_and_a_viewer_or_key_neither(
    cast: Cast, method: str, path: str, body: dict[str, Any] | None
) -> None:
    prompt = made(cast)
    address = f"{API}/{prompt['id']}/{path}"
    for stranger in (as_person(cast.charlie), with_key("globex")):
        assert_problem(getattr(stranger, method)(address, body, format="json"), 404)
    for reader in (as_person(cast.bob), with_key("acme")):
        assert_problem(getattr(reader, method)(address, body, format="json"), 403)
    shown = as_person(cast.alice).get(f"{API}/{prompt['id']}/").json()
    assert (shown["current"], shown["latest"], shown["labels"], shown["experiment"]) == (1, 2, {}, None)


@pytest.mark.parametrize("path", READS)
def test_a_stranger_reads_nothing(cast: Cast, path: str) -> None:
    prompt = made(cast)
    for stranger in (as_person(cast.charlie), with_key("globex")):
        assert_problem(stranger.get(f"{API}/{prompt['id']}/{path}"), 404)
        assert_problem(stranger.get(f"{API}/greet/{path}"), 404)
        assert names(stranger.get(f"{API}/")) == []


def test_a_list_asks_the_database_no_more_for_more_prompts(cast: Cast) -> None:
    client = with_key("acme")
    counts = []
    for name in ("one", "two", "three"):
        made(cast, name=name)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert "greet" not in names(client.get(f"{API}/"))
        counts.append(len(queries))
    assert counts[0] == counts[2]


def test_the_schema_tells_of_prompts(cast: Cast) -> None:
    schema = as_person(cast.olga).get("/api/schema/?format=json").json()
    paths = {path.removeprefix(API) for path in schema["paths"] if path.startswith(f"{API}/")}
    assert {"/", "/{id}/", "/{id}/versions/", "/{id}/promote/", "/{id}/experiment/", "/{id}/results/"} <= paths
