"""The official clients at the addresses beside those of answers: embeddings, counts of tokens."""

from typing import Any

import anthropic
import openai

from llmobs.ops.simulator.running import Running
from tests.clients.asking import HELLO
from tests.clients.conftest import CLAUDE, EMBEDDER
from tests.gateway.running import Gateway


def test_embeddings_come_as_the_sdk_asks_for_them(openai_client: openai.OpenAI, gateway: Gateway) -> None:
    answer = openai_client.embeddings.create(model=EMBEDDER, input=["one two", "three"])
    assert [len(entry.embedding) for entry in answer.data] == [1536, 1536]
    assert answer.usage.prompt_tokens == gateway.usage().uncached_input == 3


def test_tokens_are_counted(anthropic_client: anthropic.Anthropic, simulator: Running) -> None:
    counted = anthropic_client.messages.count_tokens(model=CLAUDE, messages=HELLO)
    assert counted.input_tokens == 3
    assert simulator.bill.as_dict()["requests"] == 0


def test_tokens_of_a_model_whose_provider_does_not_count_are_estimated(
    anthropic_client: anthropic.Anthropic, simulator: Running, gateway: Gateway
) -> None:
    """INTERFACE: any format reaches any model."""
    asked: Any = [{"role": "user", "content": "how many tokens are these " * 40}]
    counted = anthropic_client.messages.count_tokens(model="gpt-4o-mini", messages=asked)
    assert 200 <= counted.input_tokens <= 400  # a token for four characters
    assert simulator.bill.as_dict()["requests"] == 0
    assert gateway.ends() == []
