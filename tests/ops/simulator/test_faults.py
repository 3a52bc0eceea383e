"""Scripted faults beyond a status: silence, halves, errors that come as successes, faults that pass."""

import json
from typing import Any

import anthropic
import openai
import pytest

from llmobs.ops.simulator.running import Running

MODEL = "gpt-4o-mini"


def ask(client: openai.OpenAI, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


def test_it_hangs_until_its_caller_leaves(openai_client: openai.OpenAI, simulator: Running) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(openai_client.with_options(timeout=0.2), "[[simulate hang]] hello")
    assert simulator.bill.as_dict()["requests"] == 0


def test_an_error_comes_with_200(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "[[simulate error200]] hi"}]
    )
    other = anthropic_client.messages.with_raw_response.create(
        model="claude-sonnet-4-5", max_tokens=3, messages=[{"role": "user", "content": "[[simulate error200]] hi"}]
    )
    assert (raw.http_response.status_code, set(json.loads(raw.http_response.text))) == (200, {"error"})
    assert (other.http_response.status_code, json.loads(other.http_response.text)["type"]) == (200, "error")


def test_an_error_says_when_to_come_back(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as refused:
        ask(openai_client, "[[simulate status=429, retry_after=7]] hello")
    assert refused.value.response.headers["retry-after"] == "7"


def test_half_a_body_and_half_a_stream(openai_client: openai.OpenAI, simulator: Running) -> None:
    with pytest.raises(openai.APIConnectionError):
        ask(openai_client, "[[simulate half]] hello", max_tokens=40)
    with pytest.raises(openai.APIConnectionError):
        list(ask(openai_client, "[[simulate half]] hello", max_tokens=40, stream=True))
    # A whole answer was computed, whatever of it arrived.
    assert simulator.bill.as_dict()["output_tokens"] == 40 + 20


def test_a_fault_passes_after_the_first_calls_with_its_text(openai_client: openai.OpenAI) -> None:
    for text in ("[[simulate first=2, status=503]] hello", "[[simulate first=1, status=503]] other"):
        for _ in range(int(text.partition("first=")[2][0])):
            with pytest.raises(openai.InternalServerError):
                ask(openai_client, text)
        assert ask(openai_client, text).usage.completion_tokens == 64
