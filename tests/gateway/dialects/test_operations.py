"""Responses, embeddings and token counts: what they ask for, what they report, what goes upstream."""

import json

import pytest

from gateway.dialects.anthropic import Anthropic
from gateway.dialects.count_tokens import CountTokens
from gateway.dialects.dialect import (
    FILE_TOKENS,
    IMAGE_TOKENS,
    SERVER_TOOL_TOKENS,
    TOOLS_TOKENS,
    Asked,
    BadRequest,
    Dialect,
)
from gateway.dialects.embeddings import Embeddings
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses
from llmobs.pricing.usage import Usage

RESPONSES, EMBEDDINGS, COUNT = Responses(), Embeddings(), CountTokens()
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 6},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 14,
}


def event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def response(**fields: object) -> dict[str, object]:
    return {"id": "resp_1", "object": "response", "model": "gpt-4o", "status": "completed", "output": [], **fields}


def asked(**fields: object) -> Asked:
    return RESPONSES.read(json.dumps({"model": "gpt-4o", "input": "hi", **fields}).encode())


# ---------------------------------------------------------------- responses


def test_a_responses_usage_is_the_same_streamed_and_whole() -> None:
    """S4-30: both interfaces, one count."""
    final = response(usage=USAGE)
    start = event("response.created", response=response(status="in_progress", usage=None))
    whole = RESPONSES.answered(json.dumps(final).encode())
    streamed = RESPONSES.streamed([start, event("response.completed", response=final)])
    assert whole is not None
    assert whole == streamed
    assert whole.usage == Usage(4, cache_read=6, output=4, reasoning=3)
    assert (whole.response_id, whole.response_model, whole.finish_reasons) == ("resp_1", "gpt-4o", ("completed",))


def test_a_response_that_was_cut_short_says_why() -> None:
    final = response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=USAGE)
    assert RESPONSES.streamed([event("response.incomplete", response=final)]).finish_reasons == ("max_output_tokens",)


@pytest.mark.parametrize(
    "last",
    [
        event("response.failed", response=response(status="failed", error={"code": "server_error", "message": "m"})),
        event("error", code="server_error", message="m"),
    ],
)
def test_a_response_that_failed_is_an_error(last: bytes) -> None:
    assert RESPONSES.streamed([last]).error_type == "server_error"


def test_a_stream_without_its_end_has_no_usage() -> None:
    start = event("response.created", response=response(status="in_progress", usage=None))
    found = RESPONSES.streamed([start])
    assert (found.response_id, found.usage, found.finish_reasons) == ("resp_1", None, ())


def test_only_the_event_itself_is_the_end() -> None:
    text = event("response.output_text.delta", delta="event: response.completed\n")
    assert not RESPONSES.is_last(text)
    assert RESPONSES.is_last(text + event("response.completed", response=response()))
    assert RESPONSES.is_last(b'data: {"type":"response.completed","response":{}}\n\n')


def test_what_a_response_showed_is_counted_by_its_bytes() -> None:
    deltas = event("response.output_text.delta", delta="n\u00e9") + event(
        "response.function_call_arguments.delta", delta="{}"
    )
    assert RESPONSES.shown_bytes(deltas + event("response.output_text.done", text="n\u00e9")) == 3 + 2


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"previous_response_id": "resp_0"}, FILE_TOKENS),
        ({"conversation": "conv_1"}, FILE_TOKENS),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}]}, IMAGE_TOKENS),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, FILE_TOKENS),
        ({"tools": [{"type": "web_search"}]}, SERVER_TOOL_TOKENS),
        ({"tools": [{"type": "mcp", "server_url": "u"}, {"type": "file_search"}]}, 2 * SERVER_TOOL_TOKENS),
    ],
)
def test_what_stands_at_the_provider_is_bounded_by_more_than_its_name(fields: dict[str, object], least: int) -> None:
    assert asked(**fields).unseen_input_tokens >= least


def test_a_tool_with_a_parameter_named_prompt_is_no_stored_prompt() -> None:
    tool = {"type": "function", "name": "draw", "parameters": {"properties": {"prompt": {"type": "string"}}}}
    assert asked(tools=[tool]).unseen_input_tokens == TOOLS_TOKENS


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OpenAI(), b'{"model":"m","messages":[{}],"response_format":{"type":"json_schema"}}'),
        (OpenAI(), b'{"model":"m","messages":[{"role":"assistant","tool_calls":[]}]}'),
        (Responses(), b'{"model":"m","input":[{"type":"function_call"}]}'),
        (
            Anthropic(),
            b'{"model":"m","max_tokens":1,"messages":[{}],"output_config":{"format":{"type":"json_schema"}}}',
        ),
    ],
)
def test_what_is_told_to_another_format_as_tools_is_held_for_as_such(dialect: Dialect, body: bytes) -> None:
    assert dialect.read(body).unseen_input_tokens == TOOLS_TOKENS


def test_a_response_in_the_background_cannot_be_billed() -> None:
    with pytest.raises(BadRequest, match="background"):
        asked(background=True)


def test_a_response_is_attributed_by_its_body() -> None:
    found = asked(metadata={"feature": "f", "session": "s"}, safety_identifier="u", prompt_cache_key="k", store=False)
    assert (found.feature, found.session, found.user) == ("f", "s", "u")


# ---------------------------------------------------------------- embeddings


@pytest.mark.parametrize("given", ["one", ["one", "two"], [1, 2, 3], [[1, 2], [3]]])
def test_an_embedding_holds_its_input_alone(given: object) -> None:
    found = EMBEDDINGS.read(json.dumps({"model": "e", "input": given}).encode())
    assert (found.most_output_tokens, found.choices, found.is_stream) == (0, 0, False)


def test_an_embedding_without_input_is_no_request() -> None:
    with pytest.raises(BadRequest, match="input"):
        EMBEDDINGS.read(b'{"model":"e"}')


def test_an_embeddings_usage_is_its_input() -> None:
    body = {"object": "list", "data": [], "model": "e", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    found = EMBEDDINGS.answered(json.dumps(body).encode())
    assert found is not None
    assert (found.usage, found.response_model) == (Usage(8), "e")


def test_an_embeddings_error_is_one() -> None:
    found = EMBEDDINGS.answered(b'{"error":{"code":"c","message":"m"}}')
    assert found is not None
    assert found.error_type == "c"
    assert EMBEDDINGS.answered(b"<html>") is None


# ---------------------------------------------------------------- token counts


def test_a_count_of_tokens_is_free() -> None:
    found = COUNT.read(b'{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"hi"}]}')
    assert (found.is_free, found.choices, found.unseen_input_tokens) == (True, 0, 0)
    answered = COUNT.answered(b'{"input_tokens":12}')
    assert answered is not None
    assert answered.usage == Usage()


def test_a_counts_error_is_one() -> None:
    answered = COUNT.answered(b'{"type":"error","error":{"type":"not_found_error","message":"m"}}')
    assert answered is not None
    assert answered.error_type == "not_found_error"
    assert COUNT.answered(b"{}") is None


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    ("dialect", "model", "field"),
    [
        (OpenAI(), "gpt-4o", "max_tokens"),
        (OpenAI(), "llama-3", "max_tokens"),
        (OpenAI(), "gpt-5-mini", "max_completion_tokens"),
        (OpenAI(), "o3", "max_completion_tokens"),
        (Responses(), "gpt-5", "max_output_tokens"),
    ],
)
def test_a_ceiling_is_set_where_there_is_none(dialect: Dialect, model: str, field: str) -> None:
    body = b'{ "model":"%s","messages":[{}],"seed": 1.0}' % model.encode()
    capped = dialect.capped(body, 7, dialect.read(body))
    assert json.loads(capped) == {**json.loads(body), field: 7}
    assert capped.endswith(b'"seed": 1.0}')
    assert dialect.capped(capped, 3, dialect.read(capped)) == capped


def test_a_ceiling_that_is_null_is_none() -> None:
    body = b'{"model":"gpt-4o","messages":[{}],"max_tokens":null}'
    assert json.loads(OpenAI().capped(body, 7, OpenAI().read(body)))["max_tokens"] == 7


@pytest.mark.parametrize("dialect", [OpenAI(), Responses(), Anthropic()])
def test_a_stream_is_asked_for_or_not(dialect: Dialect) -> None:
    body = b'{"model":"m","max_tokens":5,"messages":[{}]}'
    stream = dialect.streaming(body, True)
    assert dialect.read(stream).is_stream
    assert json.loads(dialect.streaming(stream, False)) == json.loads(body)


def test_stream_options_go_with_the_stream() -> None:
    body = b'{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}'
    assert json.loads(OpenAI().streaming(body, False)) == {"model": "m", "messages": [{}]}


@pytest.mark.parametrize(("model", "expected"), [("gpt-5.6-sol", True), ("gpt-5.1", False), ("gpt-4o", False)])
def test_models_that_write_to_the_cache_unasked_are_known(model: str, expected: bool) -> None:
    assert OpenAI().may_write_cache(model) is expected


def test_what_was_written_to_openais_cache_is_a_class_of_its_own() -> None:
    """S0-17: tokens that the provider's cache served, and those it took in, are told apart."""
    details = {"cached_tokens": 6, "cache_write_tokens": 3}
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": details}
    found = OpenAI().answered(json.dumps({"choices": [], "usage": usage}).encode())
    assert found is not None
    assert found.usage == Usage(1, cache_read=6, cache_write_5m=3, output=4)


def test_claudes_thinking_is_a_part_of_its_output() -> None:
    usage = {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5}}
    found = Anthropic().answered(json.dumps({"type": "message", "usage": usage}).encode())
    assert found is not None
    assert found.usage == Usage(1, output=9, reasoning=5)
