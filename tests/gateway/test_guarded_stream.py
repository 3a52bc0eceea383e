"""The output's guard (S2-39): all formats, whole and streamed, wherever a value is cut in two."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.guarded_stream import OutputGuard
from llmobs.guards.redactor import Redactor

KEY = b"key of a tenant"
TEXT = (
    "Dear Bob, write to bob@example.com or call +49 30 1234567. Your card 4111 1111 1111 1111 is fine. "
    "Grüße 😀 我的手机号是13812345678。The end"
)
MASKED = Redactor().redact(TEXT)
ARGUMENTS = json.dumps(
    {"to": "bob@example.com", "n": [1, 2.5], "text": 'a\nb "quoted" sk-abcdefghijklmnop1234567890 ü'}
)
CLEAN = "A sentence like any other, with 12 numbers and nothing to hide. " * 5


def sse(*events: dict[str, Any] | str, named: bool = False) -> bytes:
    out = b""
    for event in events:
        if isinstance(event, str):
            out += f"data: {event}\n\n".encode()
        else:
            line = f"event: {event['type']}\n" if named else ""
            out += f"{line}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
    return out


def cut(text: str, sizes: random.Random) -> list[str]:
    pieces, at = [], 0
    while at < len(text):
        size = sizes.choice([1, 2, 3, 5, 9, 30])
        pieces.append(text[at : at + size])
        at += size
    return pieces


def chat(text: str, arguments: str, sizes: random.Random) -> bytes:
    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}

    tool = {"index": 0, "id": "t1", "type": "function", "function": {"name": "mail", "arguments": ""}}
    return sse(
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in cut(text, sizes)),
        chunk({"tool_calls": [tool]}),
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": p}}]}) for p in cut(arguments, sizes)),
        chunk({}, "tool_calls"),
        {"id": "c1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        "[DONE]",
    )


def messages(text: str, arguments: str, sizes: random.Random) -> bytes:
    def delta(index: int, kind: str, name: str, piece: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: piece}}

    tool = {"type": "tool_use", "id": "t1", "name": "mail", "input": {}}
    return sse(
        {
            "type": "message_start",
            "message": {"id": "m1", "type": "message", "content": [], "usage": {"input_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(delta(0, "text_delta", "text", piece) for piece in cut(text, sizes)),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        *(delta(1, "input_json_delta", "partial_json", piece) for piece in cut(arguments, sizes)),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
        named=True,
    )


def responses(text: str, arguments: str, sizes: random.Random) -> bytes:
    said = {"item_id": "i1", "output_index": 0, "content_index": 0}
    called = {"item_id": "i2", "output_index": 1}
    message = {"type": "message", "id": "i1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    function = {"type": "function_call", "id": "i2", "name": "mail", "arguments": arguments}
    whole = {"id": "r1", "object": "response", "status": "completed", "output": [message, function]}
    return sse(
        {"type": "response.created", "response": {"id": "r1", "output": []}},
        *({"type": "response.output_text.delta", **said, "delta": p, "logprobs": []} for p in cut(text, sizes)),
        {"type": "response.output_text.done", **said, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        *({"type": "response.function_call_arguments.delta", **called, "delta": p} for p in cut(arguments, sizes)),
        {"type": "response.function_call_arguments.done", **called, "arguments": arguments},
        {"type": "response.output_item.done", "output_index": 1, "item": function},
        {"type": "response.completed", "response": whole},
        named=True,
    )


FORMATS = {"openai": chat, "anthropic": messages, "responses": responses}


def events(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]


def texts(stream: bytes) -> tuple[str, str]:
    """Text and arguments that the deltas add up to."""
    text = arguments = ""
    for event in events(stream):
        for choice in event.get("choices") or ():
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                arguments += call["function"]["arguments"]
        if event.get("type") == "content_block_delta":
            text += event["delta"].get("text", "")
            arguments += event["delta"].get("partial_json", "")
        if event.get("type") == "response.output_text.delta":
            text += event["delta"]
        if event.get("type") == "response.function_call_arguments.delta":
            arguments += event["delta"]
    return text, arguments


def flow(guard: OutputGuard, stream: bytes, sizes: random.Random | None = None) -> bytes:
    """The stream through the guard; without `sizes` event by event, else cut anywhere, within characters too."""
    if sizes is None:
        blocks = re.findall(rb".*?\n\n", stream, re.DOTALL)
    else:
        blocks = []
        while stream:
            size = sizes.choice([1, 3, 17, 100, 500])
            blocks.append(stream[:size])
            stream = stream[size:]
    return b"".join(guard.feed(block) for block in blocks) + guard.end()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(6))
def test_a_stream_is_masked_wherever_values_are_cut(name: str, seed: int) -> None:
    """S2-39: by events, and within them by blocks."""
    sizes = random.Random(seed)
    stream = FORMATS[name](TEXT, ARGUMENTS, sizes)
    guard = OutputGuard("mask", "anthropic" if name == "anthropic" else "openai", KEY)
    out = flow(guard, stream, sizes if seed % 2 else None)
    text, arguments = texts(out)
    assert text == MASKED
    assert json.loads(arguments) == {"to": "[EMAIL_1]", "n": [1, 2.5], "text": 'a\nb "quoted" [KEY_1] ü'}
    for value in (b"bob@example.com", b"1234567", b"4111", b"13812345678", b"sk-abc"):
        assert value not in out
    found = {(f.kind, f.name, f.action, f.where) for f in guard.findings}
    assert ("personal_data", "email", "masked", "output") in found
    assert ("secret", "api_key", "masked", "output") in found
    assert guard.kept is not None
    assert b"bob@example.com" not in guard.kept


@pytest.mark.parametrize("name", FORMATS)
def test_a_clean_stream_keeps_its_text_and_its_end(name: str) -> None:
    stream = FORMATS[name](CLEAN, '{"a": 1}', random.Random(1))
    guard = OutputGuard("mask", "openai", KEY)
    out = flow(guard, stream)
    assert texts(out) == texts(stream)
    assert events(out)[-1] == events(stream)[-1]
    assert out.endswith(b"data: [DONE]\n\n") == stream.endswith(b"data: [DONE]\n\n")
    assert guard.findings == []
    assert guard.kept is None


@pytest.mark.parametrize("name", FORMATS)
def test_no_more_than_a_sentence_is_held_back(name: str) -> None:
    guard, come, sent = OutputGuard("mask", "openai", KEY), 0, 0
    stream = FORMATS[name](CLEAN, "{}", random.Random(2))
    for block in re.findall(rb".*?\n\n", stream, re.DOTALL):
        come += len(texts(block)[0])
        sent += len(texts(guard.feed(block))[0])
        assert come - sent < 40


@pytest.mark.parametrize("name", FORMATS)
def test_blocking_ends_the_stream_with_an_error_before_the_value(name: str) -> None:
    dialect = "anthropic" if name == "anthropic" else "openai"
    guard = OutputGuard("block", dialect, KEY)
    out = flow(guard, FORMATS[name](TEXT, "{}", random.Random(3)))
    assert guard.is_blocked
    assert b"bob@" not in out
    assert texts(out)[0].startswith("Dear Bob, write to ")
    last = events(out)[-1]
    assert last["error"]["message"] == "Output failed security validation: the answer holds sensitive data (email)"
    assert b"[DONE]" not in out
    assert [(f.name, f.action) for f in guard.findings] == [("email", "blocked")]


@pytest.mark.parametrize("name", FORMATS)
def test_flagging_changes_no_byte(name: str) -> None:
    stream = FORMATS[name](TEXT, ARGUMENTS, random.Random(4))
    guard = OutputGuard("flag", "openai", KEY)
    assert flow(guard, stream, random.Random(5)) == stream
    assert {f.name for f in guard.findings} >= {"email", "phone", "card", "api_key"}
    assert {f.action for f in guard.findings} == {"flagged"}
    assert all(re.fullmatch(r"[0-9a-f]{32}", f.fingerprint) for f in guard.findings)


def test_two_choices_and_thoughts_flow_apart() -> None:
    def chunk(index: int, **delta: str) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": delta, "finish_reason": None}]}

    stream = sse(
        chunk(0, content="mail bob@exa"),
        chunk(1, content="mail al@exa"),
        chunk(0, reasoning_content="she is eve@exa"),
        chunk(1, content="mple.org now"),
        chunk(0, content="mple.com"),
        chunk(0, reasoning_content="mple.net"),
        *({"choices": [{"index": i, "delta": {}, "finish_reason": "stop"}]} for i in (0, 1)),
    )
    guard = OutputGuard("mask", "openai", KEY)
    out = flow(guard, stream)
    said: dict[tuple[int, str], str] = {}
    for event in events(out):
        for choice in event["choices"]:
            for name, piece in choice["delta"].items():
                said[choice["index"], name] = said.get((choice["index"], name), "") + piece
    assert sorted(said) == [(0, "content"), (0, "reasoning_content"), (1, "content")]
    assert all(text.count("[EMAIL_") == 1 and "@" not in text for text in said.values())
    assert len(guard.findings) == 3


def test_a_signature_comes_after_all_of_its_thought() -> None:
    stream = sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "the last word"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "abc"}},
        {"type": "content_block_stop", "index": 0},
        named=True,
    )
    out = events(flow(OutputGuard("mask", "anthropic", KEY), stream))
    deltas = [event["delta"] for event in out if "delta" in event]
    assert "".join(d.get("thinking", "") for d in deltas) == "the last word"
    assert deltas[-1]["type"] == "signature_delta"


def test_probabilities_of_tokens_do_not_spell_the_text_out() -> None:
    logprobs = {"content": [{"token": "bob@example.com"}]}
    choice = {"index": 0, "delta": {"content": "bob@example.com"}, "logprobs": logprobs, "finish_reason": "stop"}
    out = flow(OutputGuard("mask", "openai", KEY), sse({"choices": [choice]}))
    assert events(out)[0]["choices"][0]["logprobs"] is None
    assert b"bob@" not in out
    whole = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "bob@example.com"}, "logprobs": logprobs}]
    }
    assert b"bob@" not in OutputGuard("mask", "openai", KEY).guard_answer(json.dumps(whole).encode())


def test_a_stream_that_breaks_off_gives_what_was_held() -> None:
    stream = sse({"choices": [{"index": 0, "delta": {"content": "the last word"}}]})
    assert texts(flow(OutputGuard("mask", "openai", KEY), stream))[0] == "the last word"


def test_odd_events_pass_or_are_masked_as_text() -> None:
    odd = (
        b': a comment\n\nevent: ping\n\ndata: no json for bob@example.com\n\ndata: [1]\n\ndata: {"choices": [null]}\n\n'
    )
    out = flow(OutputGuard("mask", "openai", KEY), odd)
    assert out.startswith(b": a comment\n\nevent: ping\n\n")
    assert b"bob@" not in out


WHOLE = [
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT, "tool_calls": [
        {"id": "t", "function": {"name": "f", "arguments": ARGUMENTS}}]}}], "usage": {"prompt_tokens": 1}},
    {"type": "message", "content": [
        {"type": "text", "text": TEXT}, {"type": "tool_use", "input": json.loads(ARGUMENTS)}]},
    {"object": "response", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": TEXT}]},
        {"type": "function_call", "arguments": ARGUMENTS}]},
]  # fmt: skip


@pytest.mark.parametrize("answer", WHOLE)
def test_a_whole_answer_is_masked_blocked_or_flagged(answer: dict[str, Any]) -> None:
    """S2-39"""
    body = json.dumps(answer).encode()
    masking, blocking, flagging = (OutputGuard(action, "openai", KEY) for action in ("mask", "block", "flag"))
    masked = masking.guard_answer(body)
    assert json.loads(masked).keys() == answer.keys()
    for value in ("bob@example.com", "4111 1111", "sk-abc", "13812345678"):
        assert value not in json.dumps(json.loads(masked), ensure_ascii=False)
    assert masking.kept == masked
    refused = json.loads(blocking.guard_answer(body))
    assert blocking.is_blocked
    assert refused["error"]["code"] == "content_policy_violation"
    assert flagging.guard_answer(body) == body
    assert not flagging.is_blocked
    for guard in (masking, blocking, flagging):
        assert {"email", "phone", "card", "api_key"} <= {f.name for f in guard.findings}


def test_a_clean_answer_is_not_touched() -> None:
    body = b'{"choices": [ {"message": {"content": "hello"}} ]}'
    for action in ("mask", "block", "flag"):
        guard = OutputGuard(action, "openai", KEY)
        assert guard.guard_answer(body) == body
        assert guard.findings == []


def test_an_answer_too_odd_to_be_read_goes_out_flagged_alone() -> None:
    body = b'{"choices": ' + b"[" * 100_000
    assert OutputGuard("flag", "openai", KEY).guard_answer(body) == body
    for action in ("mask", "block"):
        assert b"cannot be read" in OutputGuard(action, "openai", KEY).guard_answer(body)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.sampled_from(sorted(FORMATS)), st.randoms())
def test_any_text_without_findings_comes_out_as_it_went_in(text: str, name: str, sizes: random.Random) -> None:
    if Redactor().redact(text) != text:
        return
    stream = FORMATS[name](text, "{}", sizes)
    assert texts(flow(OutputGuard("mask", "openai", KEY), stream, sizes))[0] == text
