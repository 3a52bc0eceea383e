"""What a model answers with at most: by the provider's documentation, else by the context window."""

import time
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.ceilings import DOCUMENTED, most_output_tokens
from llmobs.pricing.price import Rates

NOW = time.time_ns()
ONE = Rates(1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("anthropic", "claude-sonnet-4-5", 64_000),
        ("anthropic", "claude-sonnet-4-5-20250929", 64_000),
        ("anthropic", "claude-3-5-haiku-latest", 8_192),
        ("openai", "gpt-4o-2024-08-06", 16_384),
        ("azure.ai.openai", "gpt-4o", 16_384),
        ("azure", "gpt-4o-mini", 16_384),
        ("openai", "gpt-4o-64k-output-alpha", None),
        ("openai", "claude-sonnet-4-5", None),
        ("local", "gpt-4o", None),
    ],
)
def test_a_version_answers_with_as_much_as_its_model(provider: str, model: str, tokens: int | None) -> None:
    assert PriceBook().max_output_tokens(1, provider, model, NOW) == tokens


def test_what_the_table_of_prices_says_wins() -> None:
    stated = Override(None, "openai", "gpt-4o", 0, ONE, 900)
    unstated = Override(None, "openai", "gpt-4o-mini", 0, ONE, None)
    book = PriceBook([stated, unstated])

    assert book.max_output_tokens(1, "openai", "gpt-4o", NOW) == 900
    assert book.max_output_tokens(1, "openai", "gpt-4o-mini", NOW) == 16_384


@pytest.mark.parametrize("model", sorted(DOCUMENTED["anthropic"] | DOCUMENTED["openai"]))
def test_it_is_no_less_than_what_clients_know_of_the_model(model: str) -> None:
    """A bound that is too low would let a budget be overspent."""
    is_claude = model.startswith("claude")
    client: Any = ChatAnthropic if is_claude else ChatOpenAI
    known = client(model=model, api_key="none").profile or {}

    tokens = most_output_tokens("anthropic" if is_claude else "openai", model)
    assert tokens is not None
    assert tokens >= known.get("max_output_tokens", 0)
