"""The simulator's prompt cache: what is written once is read the next time, at its own price."""

from decimal import Decimal
from typing import Any

import anthropic
import openai

from llmobs.ops.simulator.prompt_cache import LONG_SECONDS, SHORT_SECONDS, Cached, Prefix, PromptCache
from llmobs.ops.simulator.running import Running

CLAUDE = "claude-sonnet-4-5"


def ask(client: anthropic.Anthropic, question: str, ttl: str = "5m") -> tuple[int, int, int]:
    """Uncached, written and read input tokens of a call with a marked system prompt of 100 words."""
    mark: Any = {"type": "ephemeral", "ttl": ttl}
    system: Any = [{"type": "text", "text": "word " * 100, "cache_control": mark}]
    usage = client.messages.create(
        model=CLAUDE, max_tokens=10, system=system, messages=[{"role": "user", "content": question}]
    ).usage
    return usage.input_tokens, usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0


def test_a_marked_prefix_is_written_then_read(simulator: Running, anthropic_client: anthropic.Anthropic) -> None:
    assert ask(anthropic_client, "one two") == (2, 100, 0)
    assert ask(anthropic_client, "three") == (1, 0, 100)
    bill = simulator.bill.as_dict()
    # USD per million: input 3, written 3.75, read 0.30, output 15
    expected = Decimal(3 * 3 + 20 * 15) + 100 * Decimal("3.75") + 100 * Decimal("0.30")
    assert Decimal(bill["cost_usd"]) == expected / 1_000_000
    assert (bill["cache_creation_input_tokens"], bill["cache_read_input_tokens"], bill["input_tokens"]) == (
        100,
        100,
        203,
    )


def test_an_hours_cache_has_its_own_price(simulator: Running, anthropic_client: anthropic.Anthropic) -> None:
    ask(anthropic_client, "one two", ttl="1h")
    # USD per million: input 3, written for an hour 6, output 15
    assert Decimal(simulator.bill.as_dict()["cost_usd"]) == Decimal(2 * 3 + 100 * 6 + 10 * 15) / 1_000_000


def test_another_prefix_is_not_read(anthropic_client: anthropic.Anthropic) -> None:
    mark: Any = {"type": "ephemeral"}
    for text in ("a b c", "a b d"):
        content: Any = [{"type": "text", "text": text, "cache_control": mark}]
        usage = anthropic_client.messages.create(
            model=CLAUDE, max_tokens=3, messages=[{"role": "user", "content": content}]
        ).usage
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (3, 0)


def test_openai_reads_whole_steps_with_a_key(simulator: Running, openai_client: openai.OpenAI) -> None:
    read = []
    for last in ("one", "two"):
        usage = openai_client.chat.completions.create(
            model="gpt-4o-mini",
            max_tokens=1,
            prompt_cache_key="k",
            messages=[{"role": "system", "content": "word " * 1200}, {"role": "user", "content": last}],
        ).usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        read.append(usage.prompt_tokens_details.cached_tokens)
    assert read == [0, 1152]
    # USD per million: input 0.15, cached 0.075, output 0.60
    expected = Decimal("0.15") * (1201 + 49) + Decimal("0.075") * 1152 + Decimal("0.60") * 2
    assert Decimal(simulator.bill.as_dict()["cost_usd"]) == expected / 1_000_000


def test_a_prefix_is_forgotten_when_its_life_is_over() -> None:
    cache = PromptCache()
    prefixes = (Prefix(b"a", 10, LONG_SECONDS), Prefix(b"b", 15))
    assert cache.take(prefixes, 0) == Cached(0, 5, 10)
    assert cache.take(prefixes, SHORT_SECONDS - 1) == Cached(15, 0, 0)
    assert cache.take(prefixes, SHORT_SECONDS * 3) == Cached(10, 5, 0)
