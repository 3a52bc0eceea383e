"""Whether a cheap answer is good enough."""

import json

import pytest

from gateway.routing.cascading import Spoken, goes_on, score, spoken, wants_json

GOOD = "Paris is the capital of France; it has been since 987, with interruptions."


@pytest.mark.parametrize(
    ("said", "is_enough"),
    [
        (Spoken(GOOD), True),
        (Spoken(""), False),
        (Spoken("   \n"), False),
        (Spoken("I'm sorry, but I can't help with that."), False),
        (Spoken("As an AI, I have no opinion on this."), False),
        (Spoken("I'm not sure, but it could be Lyon or Paris."), False),
        (Spoken("I don't know."), False),
        (Spoken("well ... hm"), False),
        (Spoken("positive"), True),
        (Spoken("42"), True),
        (Spoken(GOOD, finish_reason="length"), False),
        (Spoken("", has_tool_calls=True), True),
        (Spoken(f"{GOOD} {'More follows. ' * 40} I can't help with that, he said."), True),
        (Spoken("Sorry to hear that; here is how to return the shoes: print the label, then post them."), True),
    ],
)
def test_signs_against_an_answer_send_it_on(said: Spoken, is_enough: bool) -> None:
    """S3-10: a scorer decides; below the threshold the dearer model is asked."""
    assert goes_on(said) is not is_enough


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"a": 1}', 1.0), ('```json\n{"a": 1}\n```', 1.0), ("Here you are: {a: 1}", 0.0), ('{"a": 1', 0.0), ("[]", 1.0)],
)
def test_where_json_was_asked_anything_else_is_nothing(text: str, found: float) -> None:
    """S3-10: an answer that breaks its form goes on."""
    assert score(Spoken(text), wants_json=True) == found


def test_the_threshold_is_the_routes() -> None:
    doubtful = Spoken("I'm not sure, but it could be Lyon or Paris.")
    assert goes_on(doubtful, 0.5)
    assert not goes_on(doubtful, 0.3)
    assert goes_on(Spoken(GOOD), 1.01)


def test_what_was_said_is_read_in_each_format() -> None:
    chat = {"choices": [{"message": {"content": "hello"}, "finish_reason": "length"}]}
    messages = {"content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}], "stop_reason": "end_turn"}
    responses = {
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "hello"}]},
        ],
        "incomplete_details": {"reason": "max_output_tokens"},
    }
    assert spoken(json.dumps(chat).encode(), "openai") == Spoken("hello", False, "length")
    assert spoken(json.dumps(messages).encode(), "anthropic") == Spoken("hello", False, "end_turn")
    assert spoken(json.dumps(responses).encode(), "openai") == Spoken("hello", False, "max_output_tokens")


def test_tool_calls_are_an_answer() -> None:
    chat = {"choices": [{"message": {"content": None, "tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}]}
    messages = {"content": [{"type": "tool_use", "id": "1"}], "stop_reason": "tool_use"}
    responses = {"output": [{"type": "function_call", "name": "f"}]}
    for body, dialect in ((chat, "openai"), (messages, "anthropic"), (responses, "openai")):
        assert score(spoken(json.dumps(body).encode(), dialect)) == 1.0


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b'{"choices": [7]}', b'{"choices": [{"message": 3}]}', b"{"])
def test_what_is_no_answer_said_nothing(body: bytes) -> None:
    assert goes_on(spoken(body, "openai"))


def test_json_is_wanted_where_the_request_says_so() -> None:
    assert wants_json(b'{"response_format": {"type": "json_object"}}')
    assert not wants_json(b'{"messages": [{"content": "json_object"}]}')
