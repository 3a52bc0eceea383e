"""The driver and the poster against what they speak to; the simulator answers in the gateway's place."""

import asyncio
from collections.abc import Iterator

import pytest

from llmobs.ops.demo.driver import Answered, drive
from llmobs.ops.demo.exports import cases, exports, span_count
from llmobs.ops.demo.plan import ATLAS, FORGE, TRIAL, Call, plan
from llmobs.ops.demo.trace import read_trace
from llmobs.ops.demo.wire import Prompts, Wire
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.running import Running, running

KEYS = {ATLAS: "key-atlas", FORGE: "key-forge", TRIAL: "key-trial"}


@pytest.fixture
def simulator() -> Iterator[Running]:
    with running() as it:
        yield it


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    return plan(read_trace("conv", 30), read_trace("code", 30), 0.05, "run1", trial=5)


def answers_to(calls: list[Call], simulator: Running) -> list[Answered]:
    host, port = simulator.url.removeprefix("http://").split(":")
    wire = Wire(f"{host}:{port}", KEYS, Prompts("run1"))
    return asyncio.run(drive(calls, wire, (host, int(port)), connections=8))


def test_every_call_is_answered_once(calls: list[Call], simulator: Running) -> None:
    answers = answers_to(calls, simulator)
    assert sorted(answer.call.number for answer in answers) == list(range(65))
    assert all(answer.is_served for answer in answers)
    assert len({answer.response_id for answer in answers}) == 65


def test_answers_tell_the_tokens_of_the_trace(calls: list[Call], simulator: Running) -> None:
    for answer in answers_to(calls, simulator):
        due = (answer.call.input_tokens, answer.call.output_tokens)
        tells = not answer.call.is_stream or answer.call.wants_usage or answer.call.dialect == "anthropic"
        assert (answer.input_tokens, answer.output_tokens) == (due if tells else (None, None))


def test_the_simulator_is_asked_for_exactly_the_traces_tokens(calls: list[Call], simulator: Running) -> None:
    answers_to(calls, simulator)
    bill = simulator.bill.as_dict()
    assert (bill["requests"], bill["input_tokens"], bill["output_tokens"]) == (
        65,
        sum(call.input_tokens for call in calls),
        sum(call.output_tokens for call in calls),
    )


def test_a_broken_connection_is_one_lost_answer_not_a_lost_run(calls: list[Call], simulator: Running) -> None:
    simulator.simulator.faults = Faults(drop=True)
    answers = answers_to(calls[:4], simulator)
    assert [answer.status for answer in answers] == [0, 0, 0, 0]
    assert {answer.reason for answer in answers} == {"the connection was closed before the answer was whole"}


def test_an_error_keeps_its_status(calls: list[Call], simulator: Running) -> None:
    simulator.simulator.faults = Faults(fail_rate=1.0, status=529)
    assert {answer.status for answer in answers_to(calls[:4], simulator)} == {529}


def test_every_case_of_the_exports_is_posted_with_a_traces_body() -> None:
    posted = list(exports())
    assert {export.case for export in posted} == set(cases())
    assert len(cases()) == 20
    assert all(export.path == "/v1/traces" for export in posted)


def test_the_exports_keep_their_encoding_but_not_their_keys() -> None:
    gzipped = next(export for export in exports() if export.case == "otel-openai-v2-http-gzip")
    request = gzipped.request("127.0.0.1:4000", "our-key")
    head = request.partition(b"\r\n\r\n")[0]
    assert b"content-encoding: gzip" in head
    assert b"test-ingest-key" not in head
    assert head.count(b"authorization: ") == 1


def test_the_exports_spans_are_counted_from_their_notes() -> None:
    assert span_count() == 346
