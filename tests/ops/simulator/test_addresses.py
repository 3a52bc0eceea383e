"""The simulator's other addresses: responses, embeddings, token counts, models, and all of them by TLS."""

import base64
import json
import ssl
import struct
from decimal import Decimal
from typing import Any
from urllib.request import Request, urlopen

import anthropic
import openai
import pytest

from llmobs.ops.simulator.running import Running, running

MODEL, CLAUDE, EMBEDDER = "gpt-4o-mini", "claude-sonnet-4-5", "text-embedding-3-small"
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


def test_a_response_has_its_words_and_usage(openai_client: openai.OpenAI, simulator: Running) -> None:
    response = openai_client.responses.create(
        model=MODEL, input="one two three", instructions="be brief", max_output_tokens=20
    )
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 20)
    assert len(response.output_text.split()) == 20
    assert (response.status, list(simulator.bill.as_dict(True)["responses"])) == ("completed", [response.id])


def test_a_response_streams_its_events_in_order(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.create(model=MODEL, input="hi", max_output_tokens=20, stream=True) as stream:
        events = list(stream)
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))


def test_a_response_calls_tools_and_takes_their_results(openai_client: openai.OpenAI) -> None:
    ask: Any = {"role": "user", "content": '[[call weather {"city": "Bern"}]]'}
    with openai_client.responses.stream(model=MODEL, input=[ask], tools=[TOOL]) as stream:
        kinds = {event.type for event in stream}
        call: Any = stream.get_final_response().output[0]
    assert "response.function_call_arguments.delta" in kinds
    assert json.loads(call.arguments) == {"city": "Bern"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    after = openai_client.responses.create(model=MODEL, input=[ask, call, result], tools=[TOOL])
    assert after.output_text


def test_a_response_reasons_and_summarises_when_asked(openai_client: openai.OpenAI) -> None:
    asked: Any = {"effort": "low", "summary": "auto"}
    with openai_client.responses.stream(model="gpt-5-mini", input="think", reasoning=asked) as stream:
        response = stream.get_final_response()
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 16
    reasoning: Any = response.output[0]
    assert len(reasoning.summary[0].text.split()) == 16


def test_vectors_are_of_length_one_near_for_shared_words_and_the_same_in_both_encodings(
    openai_client: openai.OpenAI,
) -> None:
    texts = ["my parcel is late", "my parcel is very late", "an unrelated thing"]
    by_sdk = openai_client.embeddings.create(model=EMBEDDER, input=texts)
    plain = openai_client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    one, near, far = (entry.embedding for entry in by_sdk.data)
    assert len(one) == 1536
    assert sum(x * x for x in one) == pytest.approx(1, abs=1e-5)
    assert one == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert _dot(one, near) > 0.8 > 0.2 > _dot(one, far)


def test_embeddings_are_billed_by_their_words(openai_client: openai.OpenAI, simulator: Running) -> None:
    answer = openai_client.embeddings.create(model=EMBEDDER, input="word " * 1000, dimensions=8)
    assert (answer.usage.prompt_tokens, len(answer.data[0].embedding)) == (1000, 8)
    assert Decimal(simulator.bill.as_dict()["cost_usd"]) == Decimal("0.02") * 1000 / 1_000_000


def test_base64_is_little_endian_floats(simulator: Running) -> None:
    body = {"model": EMBEDDER, "input": [[1, 2], [3]], "dimensions": 4, "encoding_format": "base64"}
    with urlopen(Request(f"{simulator.url}/v1/embeddings", json.dumps(body).encode())) as response:
        answer = json.load(response)
    assert [len(struct.unpack("<4f", base64.b64decode(one["embedding"]))) for one in answer["data"]] == [4, 4]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_tokens_are_counted_for_nothing(anthropic_client: anthropic.Anthropic, simulator: Running) -> None:
    counted = anthropic_client.messages.count_tokens(
        model=CLAUDE, system="be brief", messages=[{"role": "user", "content": "one two three"}]
    )
    assert (counted.input_tokens, simulator.bill.as_dict()["requests"]) == (5, 0)


def test_models_are_listed_in_both_formats(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
    assert {MODEL, EMBEDDER} <= {model.id for model in openai_client.models.list()}
    assert CLAUDE in {model.id for model in anthropic_client.models.list()}
    assert openai_client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.models.retrieve("no-such-model")


def test_it_answers_by_tls_to_who_trusts_its_certificate() -> None:
    with running(tls=True) as simulator:
        trusting = ssl.create_default_context(cadata=simulator.certificate)
        with urlopen(f"{simulator.tls_url}/healthz", context=trusting) as response:
            assert response.status == 200
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            urlopen(f"{simulator.tls_url}/healthz")


def _dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))
