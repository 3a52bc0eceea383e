"""Hedges through a running gateway: who is heard, what each of the two is billed, and what their breakers are told."""

import socket
import threading

import httpx2 as httpx
import pytest

from llmobs.ingest.journal import JournalBroken
from tests.gateway.faulty import TEXT, Fault, after, good, hang, status
from tests.gateway.routing.conftest import Pair, who

STREAMED = pytest.mark.parametrize("is_stream", [False, True])


def telling(told: threading.Event, fault: Fault) -> Fault:
    """The fault, once it has told that it was asked."""

    def send(connection: socket.socket, is_stream: bool) -> None:
        told.set()
        fault(connection, is_stream)

    return send


@pytest.fixture
def hedge(pair: Pair) -> Pair:
    pair.route(hedge_after_ms=30)
    return pair


@STREAMED
def test_a_second_is_asked_while_the_first_is_silent_and_heard(hedge: Pair, is_stream: bool) -> None:
    """S3-11, S4-14: the one that is not heard is billed at its hold, for its provider may have worked."""
    hedge.one.script = [hang]
    response = hedge.ask(stream=is_stream)
    assert who(response) == (200, "two", "2", "fallback")
    assert TEXT in response.text
    assert hedge.bills() == [("one", "ok", "hedged", "hold"), ("two", "ok", "", "exact")]
    assert hedge.call_status() == "degraded"


@STREAMED
def test_the_first_is_heard_where_it_answers_before_the_second(hedge: Pair, is_stream: bool) -> None:
    is_second_asked = threading.Event()
    hedge.one.script = [after(is_second_asked, good)]
    hedge.two.script = [telling(is_second_asked, hang)]
    response = hedge.ask(stream=is_stream)
    assert who(response) == (200, "one", "2", "")
    assert TEXT in response.text
    assert hedge.bills() == [("one", "ok", "", "exact"), ("two", "ok", "hedged", "hold")]


def test_a_loser_counts_neither_for_nor_against_its_breaker(hedge: Pair) -> None:
    hedge.providers(breaker=True)
    hedge.one.script = [hang]
    for _ in range(6):
        assert who(hedge.ask())[1] == "two"
    assert hedge.states() == ["healthy", "healthy"]


def test_both_that_fail_are_told_to_their_breakers_and_to_the_caller(hedge: Pair) -> None:
    """S0-30, S2-24: one error that names both."""
    hedge.providers(breaker=True)
    for _ in range(5):
        is_second_asked = threading.Event()
        hedge.one.script = [after(is_second_asked, status(500))]
        hedge.two.script = [telling(is_second_asked, status(503))]
        response = hedge.ask()
        assert who(response)[:3] == (503, "two", "2")
        assert set(response.headers["x-llmobs-tried"].split("; ")) == {
            "one/gpt-4o-mini answered 500",
            "two/gpt-4o-mini answered 503",
        }
    assert hedge.states() == ["unhealthy", "unhealthy"]
    assert {bill for *_, bill in hedge.bills()} == {"nothing"}


def test_one_that_fails_while_the_other_is_asked_ends_nothing(hedge: Pair) -> None:
    is_second_asked, has_first_failed = threading.Event(), threading.Event()
    hedge.one.script = [after(is_second_asked, telling(has_first_failed, status(500)))]
    hedge.two.script = [telling(is_second_asked, after(has_first_failed, good))]
    assert who(hedge.ask()) == (200, "two", "2", "fallback")
    assert hedge.bills() == [("one", "failed", "server_error", "nothing"), ("two", "ok", "", "exact")]


def test_what_the_caller_caused_ends_the_hedge(hedge: Pair) -> None:
    is_second_asked = threading.Event()
    hedge.one.script = [after(is_second_asked, status(400))]
    hedge.two.script = [telling(is_second_asked, hang)]
    assert who(hedge.ask())[:3] == (400, "one", "2")
    assert hedge.bills()[1] == ("two", "ok", "hedged", "hold")


def test_a_first_that_fails_in_time_is_no_hedge(hedge: Pair) -> None:
    hedge.route(hedge_after_ms=5000)
    hedge.one.script = [status(500)]
    assert who(hedge.ask()) == (200, "two", "2", "fallback")
    assert hedge.bills() == [("one", "failed", "server_error", "nothing"), ("two", "ok", "", "exact")]


@STREAMED
def test_nothing_stays_held_when_the_caller_leaves_a_hedge(hedge: Pair, is_stream: bool) -> None:
    hedge.one.script = hedge.two.script = [hang]
    with pytest.raises(httpx.ReadTimeout):
        _impatient(hedge, is_stream)
    hedge.gateway.wait_until(lambda: len(hedge.gateway.ends()) == 2, "both have ended")
    assert [bill for *_, bill in hedge.bills()] == ["hold", "hold"]


def _impatient(hedge: Pair, is_stream: bool) -> None:
    hedge.gateway.wait_for_config(hedge.world.version())
    body = {"model": "pair", "messages": [{"role": "user", "content": "x"}], "max_tokens": 20, "stream": is_stream}
    hedge.http.post("/v1/chat/completions", json=body, headers={"x-llmobs-timeout": "0.5"}, timeout=0.25)


def test_a_budget_that_holds_one_only_lets_the_first_be_waited_for(hedge: Pair) -> None:
    hedge.ask()
    [first] = hedge.gateway.begins()
    hedge.bills()
    assert first.held_nanousd is not None
    limit = hedge.world.ledger()["pending"] + first.held_nanousd * 3 // 2
    hedge.world.pg.execute("UPDATE budgets_budget SET limit_nanousd = %s", (limit,))
    waits = threading.Event()
    hedge.one.script = [after(waits, good)]
    threading.Timer(0.3, waits.set).start()
    assert who(hedge.ask()) == (200, "one", "1", "")
    assert hedge.two.requests == 0


def test_a_second_whose_begin_the_disk_does_not_take_lets_the_first_be_waited_for(
    hedge: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = hedge.gateway.plane
    assert plane is not None
    journal, waits, writes = plane.recorder.journal, threading.Event(), list[int]()
    write = journal._write

    def fails_for_the_second(frames: bytes) -> None:
        writes.append(len(frames))
        if len(writes) == 2:
            threading.Timer(0.1, waits.set).start()
            raise JournalBroken("the disk is full")
        write(frames)

    monkeypatch.setattr(journal, "_write", fails_for_the_second)
    hedge.one.script = [after(waits, good)]
    assert who(hedge.ask())[:3] == (200, "one", "1")
    assert hedge.two.requests == 0
    hedge.gateway.wait_until(lambda: not hedge.world.ledger()["held"], "nothing is held")
    assert len(hedge.gateway.ends()) == 1


def test_a_first_whose_begin_the_disk_does_not_take_is_no_attempt(hedge: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = hedge.gateway.plane
    assert plane is not None
    journal, writes = plane.recorder.journal, list[int]()
    write = journal._write

    def fails_once(frames: bytes) -> None:
        writes.append(len(frames))
        if len(writes) == 1:
            raise JournalBroken("the disk is full")
        write(frames)

    monkeypatch.setattr(journal, "_write", fails_once)
    answer = hedge.ask()
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (503, "journal_full")
    hedge.gateway.wait_until(lambda: not hedge.world.ledger()["held"], "nothing is held")
    assert who(hedge.ask(text="again"))[:3] == (200, "one", "1")
    assert len(hedge.gateway.ends()) == 1
