"""Log records that carry content: which they are, and what each of them says."""

import json
from typing import Any

import pytest

from llmobs.ingest.entries import OtlpLogs
from llmobs.ingest.otlp.check import OtlpError
from llmobs.ingest.otlp.logs import CONTENT_EVENTS, check_logs, decode_logs
from tests.ingest.otlp.captured import FOLDER

PROTOBUF, JSON = "application/x-protobuf", "application/json"
NOW_NS = 1_795_000_000 * 10**9
TEXT = "What is the capital of France?"


def value(plain: Any) -> dict[str, Any]:
    """OTLP/JSON's AnyValue."""
    if isinstance(plain, dict):
        return {"kvlistValue": {"values": pairs(plain)}}
    if isinstance(plain, list):
        return {"arrayValue": {"values": [value(item) for item in plain]}}
    return {"intValue": str(plain)} if isinstance(plain, int) else {"stringValue": plain}


def pairs(plain: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value(item)} for name, item in plain.items()]


def record(
    name: str, body: Any = None, at_ns: int = NOW_NS, attributes: dict[str, Any] | None = None
) -> dict[str, Any]:
    made = {"traceId": "0a" * 16, "spanId": "0b" * 8, "eventName": name, "timeUnixNano": str(at_ns)}
    return {**made, "attributes": pairs(attributes or {}), **({} if body is None else {"body": value(body)})}


def request(*records: dict[str, Any]) -> bytes:
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}).encode()


def said(*records: dict[str, Any]) -> list[tuple[str, bool, Any]]:
    """(side, whether it is all of it, messages) of each."""
    found = decode_logs(OtlpLogs(1, 7, NOW_NS + 5, JSON, request(*records)))
    return [("input" if s.is_input else "output", s.is_whole, json.loads(s.messages)) for s in found]


def text(role: str, content: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": role, "parts": [{"type": "text", "content": content}], **more}]


def test_the_captured_ones_say_what_the_application_asked_and_was_answered() -> None:
    body = (FOLDER / "otel-openai-v2-content-logs/logs.bin").read_bytes()
    checked = check_logs(body, PROTOBUF)
    assert (checked.record_count, checked.content_count, checked.response) == (10, 10, b"")
    found = decode_logs(OtlpLogs(1, 7, NOW_NS, PROTOBUF, body))
    first = [json.loads(s.messages) for s in found if s.span_id == found[0].span_id]
    assert first == [
        text("system", "You are terse."),
        text("user", TEXT),
        text("assistant", "The capital of France is Paris.", finish_reason="stop"),
    ]
    assert len({s.mark for s in found}) == len(found) == 10
    assert {s.mark for s in decode_logs(OtlpLogs(1, 7, NOW_NS + 9, PROTOBUF, body))} == {s.mark for s in found}


def test_records_without_text_say_nothing() -> None:
    body = (FOLDER / "otel-openai-v2-basic/logs.bin").read_bytes()
    found = decode_logs(OtlpLogs(1, 7, NOW_NS, PROTOBUF, body))
    parts = [part for s in found for message in json.loads(s.messages) for part in message["parts"]]
    assert {part["type"] for part in parts} == {"tool_call"}  # which tools is told all the same


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (record("gen_ai.user.message", {"content": TEXT}), ("input", False, text("user", TEXT))),
        (
            record("gen_ai.system.message", {"role": "developer", "content": "x"}),
            ("input", False, text("developer", "x")),
        ),
        (record("gen_ai.user.message", TEXT), ("input", False, text("user", TEXT))),
        (
            record("gen_ai.tool.message", {"id": "call_1", "content": "12 °C"}),
            (
                "input", False,
                [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "12 °C"}]}],
            ),
        ),
        (
            record("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "Paris"}}),
            ("output", False, text("assistant", "Paris", finish_reason="stop")),
        ),
        (record("gen_ai.choice", {"index": 0, "message": "Paris"}), ("output", False, text("assistant", "Paris"))),
        (
            record("gen_ai.content.prompt", attributes={"gen_ai.prompt": f'[{{"role": "user", "content": "{TEXT}"}}]'}),
            ("input", False, text("user", TEXT)),
        ),
        (
            record("gen_ai.content.completion", attributes={"gen_ai.completion": "Paris"}),
            ("output", False, text("assistant", "Paris")),
        ),
        (
            record("", {"content": TEXT}, attributes={"event.name": "gen_ai.user.message"}),
            ("input", False, text("user", TEXT)),
        ),
    ],
)  # fmt: skip
def test_each_event_is_a_message(sent: dict[str, Any], expected: tuple[str, bool, Any]) -> None:
    assert said(sent) == [expected]


@pytest.mark.parametrize("as_text", [True, False])
def test_the_details_of_an_operation_are_all_of_both_sides(as_text: bool) -> None:
    given, answer = text("user", TEXT), text("assistant", "Paris", finish_reason="stop")
    system = [{"type": "text", "content": "Be terse."}]
    attributes: dict[str, Any] = {
        "gen_ai.input.messages": given, "gen_ai.output.messages": answer, "gen_ai.system_instructions": system,
    }  # fmt: skip
    if as_text:
        attributes = {name: json.dumps(item) for name, item in attributes.items()}
    assert said(record("gen_ai.client.inference.operation.details", attributes=attributes)) == [
        ("input", True, [{"role": "system", "parts": system}, *given]),
        ("output", True, answer),
    ]


def test_the_same_twice_in_one_request_was_said_twice_and_sent_again_once() -> None:
    body = request(*[record("gen_ai.user.message", {"content": "yes"})] * 2)
    first, again = (decode_logs(OtlpLogs(1, 7, NOW_NS + late, JSON, body)) for late in (0, 9))
    assert len({s.mark for s in first}) == 2
    assert [s.mark for s in again] == [s.mark for s in first]


@pytest.mark.parametrize(
    "wrong",
    [{"traceId": "zz"}, {"traceId": "00" * 16}, {"spanId": ""}, {"spanId": "00" * 8}, {"eventName": "app.started"}],
)
def test_what_belongs_to_no_span_is_no_content(wrong: dict[str, str]) -> None:
    body = request({**record("gen_ai.user.message", {"content": TEXT}), **wrong})
    assert (check_logs(body, JSON).record_count, check_logs(body, JSON).content_count) == (1, 0)
    assert decode_logs(OtlpLogs(1, 7, NOW_NS, JSON, body)) == []


@pytest.mark.parametrize("name", sorted(CONTENT_EVENTS))
@pytest.mark.parametrize("body", [None, "", [], {}, 7, {"content": {"a": [1]}}, {"message": 3}, {"tool_calls": "x"}])
def test_nonsense_under_a_known_name_stumbles_nothing(name: str, body: Any) -> None:
    for s in decode_logs(
        OtlpLogs(1, 7, NOW_NS, JSON, request(record(name, body, attributes={"gen_ai.input.messages": 5})))
    ):
        assert isinstance(json.loads(s.messages), list)


@pytest.mark.parametrize(("body", "kind"), [(b"\xff\xff", PROTOBUF), (b"{", JSON), (b'{"resourceLogs": 3}', JSON)])
def test_what_is_no_logs_request_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(OtlpError):
        check_logs(body, kind)
