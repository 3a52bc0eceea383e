"""A rendered prompt in a body of each format, without a gateway around it."""

import json
from typing import Any

import pytest

from gateway.dialects.dialect import BadRequest
from gateway.dialects.prompted import completed, spelled_out, variables, with_prompt
from llmobs.prompts.render import Rendered

TURNS = (("user", "Hi"), ("assistant", "Hello"))
TURNS_SENT = [{"role": role, "content": text} for role, text in TURNS]
ASK = {"role": "user", "content": "why?"}


def rendered(*system: str, turns: tuple[tuple[str, str], ...] = TURNS, model: str = "", **params: Any) -> Rendered:
    return Rendered(system, turns, model, params)


def placed(serves: str, body: dict[str, Any], prompt: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(with_prompt(serves, json.dumps(body).encode(), prompt))
    return found


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"input": "why?"}, {"instructions": "a\n\nb", "input": [*TURNS_SENT, ASK]}),
        ({"input": [ASK]}, {"instructions": "a\n\nb", "input": [*TURNS_SENT, ASK]}),
        ({}, {"instructions": "a\n\nb", "input": TURNS_SENT}),
        ({"instructions": "mine", "input": "why?"}, {"instructions": "a\n\nb\n\nmine", "input": [*TURNS_SENT, ASK]}),
    ],
)
def test_in_a_response_the_systems_text_is_the_instructions(given: dict[str, Any], sent: dict[str, Any]) -> None:
    """S0-51: prompts in OpenAI's responses."""
    assert placed("responses", {"model": "m", **given}, rendered("a", "b")) == {"model": "m", **sent}


def test_in_a_response_a_prompt_of_the_system_leaves_the_input_as_it_is() -> None:
    assert placed("responses", {"model": "m", "input": "why?"}, rendered("a", turns=())) == {
        "model": "m", "instructions": "a", "input": "why?",
    }  # fmt: skip


def test_tokens_are_counted_as_the_message_would_be_sent() -> None:
    prompt = rendered("a", max_tokens=99, temperature=0.5, tools=[])
    assert placed("count_tokens", {"model": "m", "messages": [ASK]}, prompt) == {
        "model": "m", "system": "a", "messages": [*TURNS_SENT, ASK], "tools": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("serves", "ceiling"), [("responses", "max_output_tokens"), ("messages", "max_tokens"), ("chat", "max_tokens")]
)
def test_a_ceiling_is_called_as_the_format_calls_it(serves: str, ceiling: str) -> None:
    assert placed(serves, {"model": "m"}, rendered("a", max_tokens=9))[ceiling] == 9
    assert "max_tokens" not in placed("responses", {"model": "m", "max_output_tokens": 3}, rendered("a", max_tokens=9))


def test_a_prompt_has_no_place_among_texts_to_embed() -> None:
    with pytest.raises(BadRequest, match="no place in a request for embeddings"):
        placed("embeddings", {"model": "m", "input": "x"}, rendered("a"))


@pytest.mark.parametrize(
    ("serves", "body"),
    [
        ("chat", b'{"messages": ["x"]}'),
        ("chat", b'{"messages": {"role": "user"}}'),
        ("messages", b'{"messages": "x"}'),
        ("responses", b'{"input": 3}'),
        ("responses", b'{"instructions": ["a"]}'),
        ("chat", b'{"metadata": "x"}'),
        ("chat", b"[]"),
    ],
)
def test_a_body_of_another_shape_is_no_request(serves: str, body: bytes) -> None:
    with pytest.raises(BadRequest):
        with_prompt(serves, body, rendered("a"))


def test_stand_ins_stand_only_where_nothing_does() -> None:
    assert json.loads(completed("messages", b'{"model": "", "messages": [ ], "max_tokens": null}')) == {
        "model": "auto", "messages": [{}], "max_tokens": 1,
    }  # fmt: skip
    whole = {"model": "m", "messages": [ASK], "max_tokens": 7, "x": 1}
    assert json.loads(completed("messages", json.dumps(whole).encode())) == whole
    assert completed("chat", b"no json") == b"no json"


@pytest.mark.parametrize(
    ("given", "found"),
    [('"{\\"a\\": \\"x\\"}"', {"a": "x"}), ('{"a": 1}', {"a": 1}), ('"text"', "text"), ('"[1]"', "[1]"), ("3", 3)],
)
def test_variables_that_came_as_a_text_are_written_out_for_the_guards(given: str, found: object) -> None:
    body = b'{"model": "m", "metadata": {"variables": %s, "b": 1}}' % given.encode()
    assert json.loads(spelled_out(body)) == {"model": "m", "metadata": {"variables": found, "b": 1}}
    for other in (b'{"model": "m"}', b"no json", b'{"metadata": 3}'):
        assert spelled_out(other) == other


def test_variables_are_read_from_the_metadata() -> None:
    assert variables(b'{"metadata": {"variables": {"a": 1}}}') == {"a": 1}
    assert variables(b'{"metadata": null}') is None
    assert variables(b"{}") is None
    with pytest.raises(BadRequest):
        variables(b'{"metadata": 3}')
