"""OpenAI's format: usage in its normal form, bounds, and the body that goes upstream."""

import json

import pytest

from gateway.dialects.dialect import FILE_TOKENS, IMAGE_TOKENS, TOOLS_TOKENS, BadRequest
from gateway.dialects.openai import OpenAI
from llmobs.pricing.usage import Usage

DIALECT = OpenAI()
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]%s}'
STREAM = BODY % b',"stream":true'


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4}, Usage(10, output=4)),
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}},
            Usage(4, cache_read=6, output=4),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(10, output=4, reasoning=3),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 60}},
            Usage(0, cache_read=10, output=4),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": None}, Usage(10, output=4)),
    ],
)
def test_streams_and_answers_of_the_same_usage_are_counted_alike(usage: dict[str, object], expected: Usage) -> None:
    answer = json.dumps({"id": "r", "choices": [{"finish_reason": "stop"}], "usage": usage}).encode()
    event = json.dumps({"id": "r", "choices": [], "usage": usage}).encode()
    whole = DIALECT.answered(answer)
    assert whole is not None
    assert whole.usage == expected
    assert DIALECT.streamed([b"data: " + event + b"\n\n", b"data: [DONE]\n\n"]).usage == expected


def test_a_body_goes_untouched_where_nothing_must_change() -> None:
    asked = DIALECT.read(BODY % b"")
    assert DIALECT.for_upstream(BODY % b"", "gpt-4o", asked) is not None
    assert DIALECT.for_upstream(BODY % b"", "gpt-4o", asked) == BODY % b""


@pytest.mark.parametrize("options", [b"", b',"stream_options":null', b',"stream_options":{"include_usage":false}'])
def test_a_stream_is_asked_for_its_usage(options: bytes) -> None:
    body = BODY % (b',"stream":true,"seed":7' + options)
    sent = json.loads(DIALECT.for_upstream(body, "gpt-4o", DIALECT.read(body)))
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["seed"] == 7


def test_other_stream_options_are_kept() -> None:
    body = BODY % b',"stream":true,"stream_options":{"include_obfuscation":false}'
    sent = json.loads(DIALECT.for_upstream(body, "gpt-4o", DIALECT.read(body)))
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_a_routes_model_replaces_the_alias_and_nothing_else() -> None:
    body = BODY % b',"temperature":0.10,"unknown":{"a":[1, 2.50]}'
    sent = DIALECT.for_upstream(body, "gpt-4o-mini", DIALECT.read(body))
    assert json.loads(sent) == {**json.loads(body), "model": "gpt-4o-mini"}
    assert b'{"a":[1, 2.50]}' in sent


def test_only_the_extra_chunk_is_kept_from_a_caller_that_did_not_ask() -> None:
    text = b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n'
    filters = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
    extra = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    assert DIALECT.without_usage(filters + text + extra + b"data: [DONE]\n\n") == filters + text + b"data: [DONE]\n\n"


def test_a_text_that_says_done_is_not_the_end() -> None:
    assert not DIALECT.is_last(b'data: {"choices":[{"delta":{"content":"[DONE]"}}]}\n\n')
    assert DIALECT.is_last(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", (None, 1)),
        (b',"max_tokens":5', (5, 1)),
        (b',"max_completion_tokens":7,"n":3', (7, 3)),
        (b',"max_tokens":5,"max_completion_tokens":7', (7, 1)),
        (b',"max_tokens":null,"n":null', (None, 1)),
    ],
)
def test_ceilings_and_choices(fields: bytes, expected: tuple[int | None, int]) -> None:
    asked = DIALECT.read(BODY % fields)
    assert (asked.most_output_tokens, asked.choices) == expected


@pytest.mark.parametrize(
    ("part", "least"),
    [
        (b'{"type":"image_url","image_url":{"url":"https://x.test/i.png"}}', IMAGE_TOKENS),
        (b'{"type":"file","file":{"file_id":"file-1"}}', FILE_TOKENS),
    ],
)
def test_a_part_by_reference_is_bounded_by_more_than_its_bytes(part: bytes, least: int) -> None:
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":[%s]}]}' % part
    assert DIALECT.read(body).unseen_input_tokens >= least


def test_tools_bring_a_prompt_of_the_providers_own() -> None:
    assert DIALECT.read(BODY % b',"tools":[]').unseen_input_tokens == TOOLS_TOKENS


def test_nul_and_lone_surrogates_never_reach_the_database() -> None:
    asked = DIALECT.read(BODY % b',"user":"a\\u0000b"')
    assert asked.user == "ab"


def test_what_is_wrong_is_said_without_the_callers_text() -> None:
    with pytest.raises(BadRequest) as raised:
        DIALECT.read(b'{"model":"gpt-4o","messages":"my secret"}')
    assert "secret" not in str(raised.value)
