"""Cascades through a running gateway: the cheap answer where it is good enough, else the better one; both billed."""

import pytest

from tests.gateway.faulty import TEXT, saying, status
from tests.gateway.routing.conftest import Pair, who

STREAMED = pytest.mark.parametrize("is_stream", [False, True])
DOUBT = "I am not sure."
CACHED = {"x-llmobs-cache": "exact"}


@pytest.fixture
def cascade(pair: Pair) -> Pair:
    pair.route(strategy="cascade")
    pair.one.script = [saying(DOUBT)]
    return pair


@STREAMED
def test_a_cheap_answer_that_looks_good_is_the_answer(cascade: Pair, is_stream: bool) -> None:
    """S3-10: streamed calls get it as a stream, though it was asked for whole."""
    cascade.one.script = [saying("Paris is the capital of France.")]
    response = cascade.ask(stream=is_stream)
    assert who(response) == (200, "one", "1", "")
    assert response.headers["content-type"].startswith("text/event-stream" if is_stream else "application/json")
    assert "Paris" in response.text
    assert cascade.bills() == [("one", "ok", "", "exact")]


@STREAMED
def test_a_poor_one_is_billed_and_the_better_one_is_the_answer(cascade: Pair, is_stream: bool) -> None:
    """S3-10: both attempts are billed and shown, and the better one's answer is no degradation."""
    response = cascade.ask(stream=is_stream)
    assert who(response) == (200, "two", "2", "")
    assert TEXT in response.text
    assert cascade.bills() == [("one", "ok", "", "exact"), ("two", "ok", "", "exact")]
    assert cascade.call_status() == "ok"


@STREAMED
def test_the_cheap_answer_stands_where_the_better_one_fails(cascade: Pair, is_stream: bool) -> None:
    """S3-10, S4-05: it says so, and is not kept for others."""
    cascade.two.script = [status(500)]
    response = cascade.ask(CACHED, stream=is_stream)
    assert who(response) == (200, "one", "2", "fallback")
    assert DOUBT in response.text
    assert cascade.bills() == [("one", "ok", "", "exact"), ("two", "failed", "server_error", "nothing")]
    assert cascade.call_status() == "degraded"
    assert cascade.ask(CACHED, stream=is_stream).headers["x-llmobs-cache"] == "miss"


def test_the_cheap_answer_stands_where_no_budget_is_left_for_the_better_one(cascade: Pair) -> None:
    """S3-10, S4-04: the second attempt is refused, not the call."""
    cascade.ask()
    held = cascade.gateway.begins()[0].held_nanousd
    assert held is not None
    cascade.bills()
    limit = cascade.world.ledger()["pending"] + held + 1000  # what the first will cost is more than that
    cascade.world.pg.execute("UPDATE budgets_budget SET limit_nanousd = %s", (limit,))
    response = cascade.ask()
    assert who(response) == (200, "one", "1", "fallback")
    assert DOUBT in response.text
    assert cascade.two.requests == 1


def test_a_cheap_one_that_fails_gives_way_to_the_better_one(cascade: Pair) -> None:
    cascade.one.script = [status(503)]
    assert who(cascade.ask()) == (200, "two", "2", "")
    assert cascade.bills() == [("one", "failed", "server_error", "nothing"), ("two", "ok", "", "exact")]
