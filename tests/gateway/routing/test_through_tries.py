"""Through a running gateway: what follows a failed attempt besides the faults' table; what a last resort covers."""

import json
import socket
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from gateway.call import Attempt, Call
from llmobs.ingest.journal import JournalBroken, JournalFull
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.running import Running
from tests.gateway.faulty import good, hang, status
from tests.gateway.routing.conftest import Pair, who
from tests.gateway.test_cache import called

CACHED = {"x-llmobs-cache": "exact"}


@pytest.fixture
def two_credentials(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setenv("FIRST_CREDENTIAL", "first")
    monkeypatch.setenv("SECOND_CREDENTIAL", "second")
    both = [{"credential": "env:FIRST_CREDENTIAL"}, {"credential": "env:SECOND_CREDENTIAL"}]
    pair.world.pg.execute("UPDATE providers_provider SET credentials = %s WHERE name = 'one'", (json.dumps(both),))
    return pair


def credentials(pair: Pair) -> list[str]:
    """As the first provider was shown them."""
    lines = [line for head in pair.one.heads for line in head.decode().split("\r\n")]
    return [line.removeprefix("authorization: Bearer ") for line in lines if line.startswith("authorization")]


@pytest.mark.parametrize("refusal", [401, 403, 429])
def test_a_refused_credential_gives_way_to_the_next_at_once(two_credentials: Pair, refusal: int) -> None:
    """S0-02, S4-04: it is put aside, no retry is used up, and the candidate stays the primary."""
    two_credentials.one.script = [status(refusal, b"retry-after: 30\r\n"), good]
    assert who(two_credentials.ask()) == (200, "one", "2", "")
    assert who(two_credentials.ask()) == (200, "one", "1", "")
    assert credentials(two_credentials) == ["first", "second", "second"]


def test_credentials_that_are_all_refused_are_each_asked_once(two_credentials: Pair) -> None:
    two_credentials.one.script = [status(401, b"retry-after-ms: 1\r\n")]
    assert who(two_credentials.ask()) == (200, "two", "3", "fallback")
    assert sorted(credentials(two_credentials)) == ["first", "second"]
    assert [bill for *_, bill in two_credentials.bills()] == ["nothing", "nothing", "exact"]


def test_what_is_set_up_wrong_here_is_not_retried_and_not_the_providers_fault(pair: Pair) -> None:
    """S4-17: a breaker that it opened would hide it."""
    pair.providers(breaker=True, retries=2)
    pair.world.pg.execute("UPDATE providers_provider SET credential = 'env:NO_SUCH_ONE' WHERE name = 'one'")
    for _ in range(6):
        assert who(pair.ask()) == (200, "two", "2", "fallback")
    assert pair.states() == ["healthy", "healthy"]
    assert pair.bills()[0] == ("one", "failed", "provider_unavailable", "nothing")


def test_a_provider_that_says_so_is_not_asked_again(pair: Pair) -> None:
    """S2-13: its x-should-retry is obeyed; another candidate is asked all the same."""
    pair.providers(retries=2)
    pair.one.script = [status(503, b"x-should-retry: false\r\n")]
    assert who(pair.ask()) == (200, "two", "2", "fallback")


def test_nobody_is_asked_again_for_a_caller_who_has_left(pair: Pair) -> None:
    """S4-04: what was tried is ended, and its hold is free while the pause lasts."""
    pair.world.pg.execute("DELETE FROM providers_candidate WHERE provider_id = %s", (pair.ids["two"],))
    pair.providers(retries=2)
    pair.one.script = [status(503, b"retry-after: 20\r\n"), good]
    pair.ask(model="gpt-4o-mini")
    pair.gateway.begin_test()
    pending = pair.world.ledger()["pending"]
    with pytest.raises(httpx.ReadTimeout):
        pair.http.post("/v1/chat/completions", json=_body(), headers={"x-llmobs-timeout": "60"}, timeout=0.3)
    pair.gateway.wait_until(lambda: called(pair.gateway), "the call has ended")
    assert [end.http_status for end in pair.gateway.ends()] == [503]
    assert pair.one.requests == 1
    ledger = pair.world.ledger()
    assert (ledger["held"], ledger["pending"]) == (0, pending)


def _body() -> dict[str, object]:
    return {"model": "pair", "messages": [{"role": "user", "content": "x"}], "max_tokens": 20}


def test_an_attempt_that_cannot_be_journalled_is_not_sent_and_gives_its_hold_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-30: the answer is the first one's error."""
    plane = pair.gateway.plane
    assert plane is not None
    recorded = plane.recorder.begin

    def full_for_the_second(call: Call, attempt: Attempt) -> None:
        if attempt.number == 2:
            raise JournalFull("the disk is full")
        recorded(call, attempt)

    monkeypatch.setattr(plane.recorder, "begin", full_for_the_second)
    pair.one.script = [status(503)]
    assert who(pair.ask())[:3] == (503, "one", "1")
    assert pair.two.requests == 0
    assert pair.bills() == [("one", "failed", "server_error", "nothing")]


def test_a_call_whose_begin_the_disk_does_not_take_is_not_sent_and_gives_its_hold_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-30: it is refused, and the next one is served."""
    plane = pair.gateway.plane
    assert plane is not None
    journal = plane.recorder.journal
    write, failed = journal._write, list[int]()

    def fails_once(frames: bytes) -> None:
        if not failed:
            failed.append(len(frames))
            raise JournalBroken("the disk is full")
        write(frames)

    monkeypatch.setattr(journal, "_write", fails_once)
    answer = pair.ask()
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (503, "journal_full")
    assert (pair.one.requests, pair.two.requests) == (0, 0)
    pair.gateway.wait_until(lambda: not pair.world.ledger()["held"], "nothing is held")
    assert who(pair.ask(text="again"))[:3] == (200, "one", "1")


def test_a_slow_failure_leaves_its_successor_its_time(pair: Pair) -> None:
    """S3-13: the retry is cut short, so that the fallback has its own patience."""
    pair.providers(retries=2)
    pair.one.script = [status(500), hang]
    assert who(pair.ask({"x-llmobs-timeout": "0.6"})) == (200, "two", "3", "fallback")
    assert [bill for *_, bill in pair.bills()] == ["nothing", "hold", "exact"]


# ---------------------------------------------------------------- breakers open, last resorts


def _opened(pair: Pair) -> None:
    pair.providers(breaker=True)
    pair.one.script = pair.two.script = [status(503)]
    for n in range(5):
        pair.ask(text=f"failing {n}")
    assert pair.states() == ["unhealthy", "unhealthy"]


def test_a_fresh_answer_is_given_though_nobody_may_be_asked(pair: Pair) -> None:
    """S0-12, S2-24, S4-05: without a route's last resort, and held for nothing."""
    pair.ask(CACHED, text="kept")
    _opened(pair)
    pair.gateway.begin_test()
    response = pair.ask(CACHED, text="kept")
    assert (who(response)[0], response.headers["x-llmobs-cache"]) == (200, "hit-exact")
    assert "x-llmobs-degraded" not in response.headers
    other = pair.ask(CACHED, text="not kept")
    assert (other.status_code, other.headers["x-llmobs-reason"]) == (503, "provider_unavailable")
    assert pair.gateway.begins() == []


def test_a_last_resort_answers_where_nobody_may_be_asked(pair: Pair) -> None:
    """S3-11, S4-05: by no attempt, at no cost."""
    _opened(pair)
    pair.route(last_resort='["static"]', static_text="Later.")
    pair.gateway.begin_test()
    response = pair.ask()
    assert who(response) == (200, "", "0", "static")
    assert response.headers["x-llmobs-cost-usd"] == "0"
    assert pair.call_status() == "degraded"


@pytest.mark.parametrize("refusal", [400, 404, 405, 422])
def test_a_last_resort_covers_up_nothing_that_the_caller_caused(pair: Pair, refusal: int) -> None:
    """S4-06."""
    pair.route(last_resort='["static"]', static_text="Later.")
    pair.one.script = [status(refusal)]
    assert who(pair.ask())[:3] == (refusal, "one", "1")


def test_a_last_resort_covers_up_no_refusal_of_ours(pair: Pair) -> None:
    """S4-04, S4-06: who has spent a budget is told so."""
    pair.route(last_resort='["static"]', static_text="Later.")
    pair.world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 1")
    response = pair.ask()
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (429, "budget_exhausted")


def test_what_has_no_answer_in_words_has_no_static_answer(pair: Pair) -> None:
    pair.route(last_resort='["static"]', static_text="Later.")
    pair.one.script = pair.two.script = [status(503)]
    pair.gateway.wait_for_config(pair.world.version())
    response = pair.http.post("/v1/embeddings", json={"model": "pair", "input": "x"})
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (503, "provider_error")


def test_how_long_a_count_of_tokens_takes_says_nothing_of_the_model(pair: Pair, simulator: Running) -> None:
    """S3-09: the live latency is that of answers."""
    model = "anthropic/claude-sonnet-4-5"
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    pair.gateway.wait_for_config(pair.world.version())
    simulator.simulator.faults = Faults(slow_ms=400)
    for _ in range(3):
        del body["max_tokens"]
        assert pair.http.post("/v1/messages/count_tokens", json=body).status_code == 200
        body["max_tokens"] = 5
    simulator.simulator.faults = Faults()
    for _ in range(5):
        pair.http.post("/v1/messages", json=body)
    plane = pair.gateway.plane
    assert plane is not None
    assert plane.snapshot is not None
    [candidate] = plane.snapshot.registry.candidates(model, lambda *_: True)
    p95_ms = pair.gateway.wait_until(lambda: plane.health.p95_ms(candidate, False), "the latency is known")
    assert p95_ms is not None
    assert p95_ms < 400


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize(
    ("allowed", "model", "task", "expected"),
    [
        ([], "auto", "summarization", 200),
        (["pair"], "auto", "summarization", 200),
        (["auto"], "auto", "summarization", 403),
        ([], "gpt-4o-mini", "summarization", 200),
        (["gpt-4o-mini"], "gpt-4o-mini", "summarization", 403),
    ],
)
def test_a_task_leads_only_where_the_key_may_go(
    pair: Pair, allowed: list[str], model: str, task: str, expected: int
) -> None:
    """S3-04, S0-08: the route that is chosen counts, not what was asked for."""
    pair.route(tasks='["summarization"]')
    pair.world.pg.execute("UPDATE tenants_key SET allowed_models = %s", (json.dumps(allowed),))
    response = pair.ask({"x-llmobs-task": task}, model=model)
    assert response.status_code == expected
    if expected == 403:
        assert response.headers["x-llmobs-reason"] == "model_not_allowed"
    else:
        assert who(response) == (200, "one", "1", "")


def test_a_model_that_is_named_gives_way_only_to_a_route_that_lists_the_task(pair: Pair) -> None:
    """S3-04, S3-07: a task that nobody lists leaves the model, also where a route takes all other tasks."""
    pair.route(tasks='["auto", "extraction"]')
    for task, provider in (("extraction", "one"), ("classification", "openai"), ("poetry", "openai")):
        assert who(pair.ask({"x-llmobs-task": task}, model="gpt-4o-mini"))[1] == provider


# ---------------------------------------------------------------- both formats


@pytest.mark.parametrize("is_stream", [False, True])
def test_both_sdks_read_what_a_last_resort_says(pair: Pair, secret: str, is_stream: bool) -> None:
    """S4-05, S0-05: the same route, by either format."""
    pair.route(last_resort='["static"]', static_text="Please try again later.")
    pair.one.script = pair.two.script = [status(503)]
    pair.gateway.wait_for_config(pair.world.version())
    chat = openai.OpenAI(base_url=f"{pair.gateway.url}/v1", api_key=secret, max_retries=0)
    messages = anthropic.Anthropic(base_url=pair.gateway.url, api_key=secret, max_retries=0)
    asked: dict[str, Any] = {"model": "pair", "max_tokens": 20, "messages": [{"role": "user", "content": "x"}]}
    if is_stream:
        chunks = list(chat.chat.completions.create(**asked, stream=True))
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        with messages.messages.stream(**asked) as stream:
            told = stream.get_final_text()
    else:
        said = chat.chat.completions.create(**asked).choices[0].message.content
        told = messages.messages.create(**asked).content[0].text
    assert said == told == "Please try again later."


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_by_a_provider_of_the_other_format_is_a_fallback_too(
    pair: Pair, simulator: Running, is_stream: bool
) -> None:
    """S2-26, S3-11: from one platform to another within one call, translated."""
    pair.world.pg.execute("UPDATE providers_candidate SET position = 5 WHERE provider_id = %s", (pair.ids["two"],))
    sql = (
        "INSERT INTO providers_candidate (route_id, provider_id, model, position) "
        "SELECT r.id, p.id, 'claude-sonnet-4-5', 1 FROM providers_route r, providers_provider p "
        "WHERE r.name = 'pair' AND p.name = 'anthropic'"
    )
    pair.world.pg.execute(sql)
    pair.one.script = [status(529)]
    response = pair.ask(stream=is_stream)
    assert who(response) == (200, "anthropic", "2", "fallback")
    assert response.headers["x-llmobs-model"] == "claude-sonnet-4-5"
    assert "chat.completion" in response.text
    assert simulator.bill.as_dict(False)["requests"] == 1


def test_what_the_provider_says_of_our_credential_stays_here(pair: Pair) -> None:
    """Its status would tell the caller's SDK that the caller's key is wrong, and its body quotes a part of ours."""

    def quoting(connection: socket.socket, is_stream: bool) -> None:
        body = b'{"error":{"message":"Incorrect API key provided: sk-proj-********4321","code":"invalid_api_key"}}'
        head = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)

    pair.one.script = pair.two.script = [quoting]
    response = pair.ask()
    assert response.status_code == 502
    assert response.headers["x-llmobs-reason"] == "provider_error"
    assert "4321" not in response.text
    assert "401" in response.json()["error"]["message"]
