"""Errors between the formats, answers that are none, and which pairs of formats there are."""

import json

import anthropic
import openai
import pytest

from gateway.dialects.anthropic import Anthropic
from gateway.dialects.count_tokens import CountTokens
from gateway.dialects.dialect import Dialect
from gateway.dialects.embeddings import Embeddings
from gateway.dialects.openai import OpenAI
from gateway.dialects.translation import Garbled, Translation, Untranslatable, translation
from llmobs.pricing.usage import Usage
from tests.gateway.dialects.said import (
    CLAUDE,
    HI,
    TO_ANTHROPIC,
    TO_OPENAI,
    anthropic_client,
    begun,
    ended,
    openai_client,
    text_block,
)


@pytest.mark.parametrize(
    ("status", "kind", "raised", "code"),
    [
        (400, "invalid_request_error", openai.BadRequestError, None),
        (401, "authentication_error", openai.AuthenticationError, "invalid_api_key"),
        (402, "billing_error", openai.RateLimitError, "insufficient_quota"),
        (403, "permission_error", openai.PermissionDeniedError, "permission_denied"),
        (404, "not_found_error", openai.NotFoundError, "model_not_found"),
        (429, "rate_limit_error", openai.RateLimitError, "rate_limit_exceeded"),
        (500, "api_error", openai.InternalServerError, None),
        (529, "overloaded_error", openai.InternalServerError, "overloaded"),
    ],
)
def test_anthropics_error_raises_openais(
    status: int, kind: str, raised: type[openai.APIStatusError], code: str | None
) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "why"}}).encode()
    status, translated = TO_OPENAI.error(status, body)
    with pytest.raises(raised, match="why") as found:
        openai_client(translated, status).chat.completions.create(model="m", messages=HI)
    assert found.value.code == code
    assert status != 529


def test_a_prompt_that_is_too_long_has_openais_code() -> None:
    error = {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}
    _, body = TO_OPENAI.error(400, json.dumps({"type": "error", "error": error}).encode())
    assert json.loads(body)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("status", "code", "expected", "kind"),
    [
        (400, None, 400, "invalid_request_error"),
        (401, "invalid_api_key", 401, "authentication_error"),
        (403, None, 403, "permission_error"),
        (404, "model_not_found", 404, "not_found_error"),
        (413, None, 413, "request_too_large"),
        (429, "rate_limit_exceeded", 429, "rate_limit_error"),
        (429, "insufficient_quota", 402, "billing_error"),
        (500, None, 500, "api_error"),
        (503, None, 529, "overloaded_error"),
    ],
)
def test_openais_error_raises_anthropics(status: int, code: str | None, expected: int, kind: str) -> None:
    body = json.dumps({"error": {"message": "why", "type": "t", "param": None, "code": code}}).encode()
    found, translated = TO_ANTHROPIC.error(status, body)
    with pytest.raises(anthropic.APIStatusError, match="why") as raised:
        anthropic_client(translated, found).messages.create(model=CLAUDE, max_tokens=9, messages=HI)
    assert (found, json.loads(translated)["error"]["type"], raised.value.status_code) == (expected, kind, expected)


@pytest.mark.parametrize("body", [b"<html>502</html>", b'{"error":"why"}', b'{"error":{}}', b""])
def test_an_error_of_any_shape_is_one(body: bytes) -> None:
    assert json.loads(TO_OPENAI.error(502, body)[1])["error"]["message"]
    assert json.loads(TO_ANTHROPIC.error(502, body)[1])["error"]["message"]


@pytest.mark.parametrize("between", [TO_OPENAI, TO_ANTHROPIC])
@pytest.mark.parametrize("body", [b"<html>", b'{"content":[{"type":"text","text":5}],"choices":[{"message":5}]}'])
def test_an_answer_that_is_none_is_garbled(between: Translation, body: bytes) -> None:
    with pytest.raises(Garbled):
        between.answer(body)


def test_the_callers_own_format_passes_through() -> None:
    assert [translation(caller, "openai") for caller in (OpenAI(), Embeddings())] == [None, None]
    assert [translation(caller, "anthropic") for caller in (Anthropic(), CountTokens())] == [None, None]


def test_either_format_reaches_either_provider() -> None:
    """S0-05, S0-06: what the provider is spoken to in also reads its usage."""
    there, back = translation(OpenAI(), "anthropic"), translation(Anthropic(), "openai")
    assert there is not None
    assert back is not None
    assert (there.speaks.serves, back.speaks.serves) == ("messages", "chat")
    streamed = there.speaks.streamed([begun(), text_block(0, "a"), ended()])
    assert streamed.usage == Usage(10, cache_read=90, cache_write_5m=20, output=7, reasoning=3)


@pytest.mark.parametrize(("caller", "provider"), [(Embeddings(), "anthropic"), (CountTokens(), "openai")])
def test_where_there_is_no_counterpart_it_says_so(caller: Dialect, provider: str) -> None:
    with pytest.raises(Untranslatable, match=provider):
        translation(caller, provider)
