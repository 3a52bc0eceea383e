"""Where texts stand in bodies of each format, and how sensitive a request is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.guards.redactor import Redactor
from llmobs.guards.sensitive import CONFIDENTIAL, INTERNAL
from llmobs.guards.signs import sensitivity
from llmobs.guards.texts import answered, asked, stored

CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a": "args"}'}}

REQUESTS: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    (
        {"messages": [
            {"role": "system", "content": "sys"},
            {"role": "developer", "content": [{"type": "text", "text": "dev"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "one"}, {"type": "text", "text": "two"},
                {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "t", "content": "res"},
        ]},
        [("system", "input", "sys"), ("developer", "input", "dev"), ("user", "input", "one\ntwo"),
         ("assistant", "input", '{"a": "args"}'), ("tool", "tool_result", "res")],
    ),
    (
        {"system": [{"type": "text", "text": "sys", "cache_control": {"type": "ephemeral"}}], "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": ["args"]}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "res"}]},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "doc"}},
                {"type": "image", "source": {"type": "base64", "data": "aGk="}},
                {"type": "text", "text": "go"}]},
        ]},
        [("system", "input", "sys"), ("user", "input", "hi"), ("assistant", "input", "args"),
         ("tool", "tool_result", "res"), ("user", "input", "doc\ngo")],
    ),
    (
        {"instructions": "ins", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": "args"}'},
            {"type": "function_call_output", "call_id": "c", "output": "res"},
        ]},
        [("system", "input", "ins"), ("user", "input", "hi"), ("assistant", "input", '{"a": "args"}'),
         ("tool", "tool_result", "res")],
    ),
    ({"input": "hi"}, [("user", "input", "hi")]),
    ({"input": ["a", "b"]}, [("user", "input", "a"), ("user", "input", "b")]),
    ({"input": [1, 2, 3]}, []),
    ({"messages": [], "metadata": {"variables": {"name": "v"}, "feature": "x"}}, [("user", "input", "v")]),
    ({"prompt": {"id": "p", "variables": {"name": "v"}}}, [("user", "input", "v")]),
    ({"messages": [None, 5, {"role": 7, "content": 8}, {"content": {"type": "text", "text": "odd"}}]},
     [("user", "input", "odd")]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), REQUESTS)
def test_the_texts_of_a_request(body: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert [(m.role, m.where, m.text()) for m in asked(body)] == expected


def test_the_texts_of_answers() -> None:
    chat = {"choices": [{"message": {"role": "assistant", "content": "a", "refusal": None, "tool_calls": [CALL]}}]}
    messages = {"content": [{"type": "text", "text": "a"}, {"type": "tool_use", "input": {"k": "b"}}]}
    responses = {"output": [
        {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "arguments": "b"},
    ]}  # fmt: skip
    assert answered(chat)[0].text() == 'a\n{"a": "args"}'
    assert answered(messages)[0].text() == "a\nb"
    assert answered(responses)[0].text() == "a\nb"
    assert answered({"choices": None, "content": 5, "output": [None]})[0].text() == ""


def test_the_texts_of_stored_messages() -> None:
    kept = [
        {"role": "user", "parts": [{"type": "text", "content": "a"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t", "response": {"x": "res"}}]},
    ]
    assert [(m.where, m.text()) for m in stored(kept, "input")] == [("input", "a"), ("tool_result", "res")]
    assert [(m.where, m.text()) for m in stored("free text", "output")] == [("output", "free text")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"messages":[{"role":"user","content":"bob\\u0040example.com"}]}', CONFIDENTIAL),
        (b'{"messages":[{"role":"user","content":"a\\n13812345678"}]}', CONFIDENTIAL),
        (b'{"messages":[{"role":"user","content":"the plan"}],"user":"bob@example.com"}', INTERNAL),
        (b'{"input":["the plan"]}', INTERNAL),
        (b'{"broken', CONFIDENTIAL),
    ],
)
def test_how_sensitive_a_request_is(body: bytes, expected: str) -> None:
    """S1-03, S4-20: what is said counts, not who says it; what cannot be read fails closed."""
    assert sensitivity(body) == expected


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["text", "tool_result", "bob@example.com", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "source"]), inner
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(ODD, st.sampled_from(["messages", "input", "system", "metadata", "choices", "output", "content"]))
def test_any_shape_is_walked_and_stays_json(value: Any, name: str) -> None:
    for walk in (asked, answered):
        body = json.loads(json.dumps({name: value}))
        for message in walk(body):
            for place in message.places:
                place.rewrite(Redactor().redact)
        json.dumps(body)
