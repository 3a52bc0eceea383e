"""Sums by hand from what providers print, for each kind of unit and tier. USD per million tokens or per thousand calls.

Sources, as genai-prices 0.2.3 cites them, checked 2026-11-21: platform.claude.com/docs/en/about-claude/pricing,
developers.openai.com/api/docs/pricing, docs.perplexity.ai/docs/getting-started/pricing,
ai.google.dev/gemini-api/docs/pricing, console.groq.com/docs/flex-processing.
"""

from datetime import UTC, datetime

import pytest

from llmobs.core.clock import ns_from_utc
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost, missing, summands
from llmobs.pricing.price import TOKENS_PER_RATE, Price
from llmobs.pricing.usage import Usage

AT = ns_from_utc(datetime(2026, 11, 21, 12, tzinfo=UTC))
SONNET = ("anthropic", "claude-sonnet-4-5")  # 3 / 15, read 0.30, write 3.75 and 6; above 200k 6 / 22.50, read 0.60
GPT_5 = ("openai", "gpt-5")  # 1.25 / 10, read 0.125; priority twice, flex and batch half
AUDIO = ("openai", "gpt-audio")  # text 2.50 / 10, sound 32 / 64
SONAR = ("perplexity", "sonar-pro")  # 3 / 15, and 14 for a thousand requests
RESEARCH = ("perplexity", "sonar-deep-research")  # 2 / 8, reasoning 3, citations 2, and 5 for a thousand searches


def price_of(named: tuple[str, str]) -> Price:
    price = PriceBook().price(1, *named, AT)
    assert price is not None
    return price


@pytest.mark.parametrize(
    ("named", "usage", "nanousd"),
    [
        # 0.003 + 0.0006 + 0.001125 + 0.0024 + 0.0075, and two searches at 0.01
        (SONNET, Usage(1000, 2000, 300, 400, 500, units=(("web_search", 2),)), 34_625_000),
        # 200,001 tokens of input: 0.9 + 0.0300006 + 0.0225
        (SONNET, Usage(150_000, 50_001, output=1000), 952_500_600),
        # one token less: 0.45 + 0.015 + 0.015
        (SONNET, Usage(150_000, 50_000, output=1000), 480_000_000),
        (SONNET, Usage(1000, output=100, tier="batch"), 2_250_000),
        # a search costs the same in a batch
        (SONNET, Usage(1000, output=100, tier="batch", units=(("web_search", 1),)), 12_250_000),
        # long contexts in a batch: 0.75 + 0.03
        (SONNET, Usage(250_000, output=2666, tier="batch"), 779_992_500),
        (GPT_5, Usage(1000, 1000, output=100), 2_375_000),
        (GPT_5, Usage(1000, 1000, output=100, tier="priority"), 4_750_000),
        (GPT_5, Usage(1000, 1000, output=100, tier="flex"), 1_187_500),
        (GPT_5, Usage(1000, 1000, output=100, tier="batch"), 1_187_500),
        # reasoning is within output
        (GPT_5, Usage(0, output=100, reasoning=90), 1_000_000),
        (GPT_5, Usage(0, output=100, units=(("file_search", 4), ("web_search", 1))), 21_000_000),
        # 0.00025 + 0.0064 + 0.0005 + 0.0192
        (AUDIO, Usage(100, output=50, units=(("audio_input", 200), ("audio_output", 300))), 26_350_000),
        (SONAR, Usage(1000, output=100), 18_500_000),
        # 0.0002 + 600 × 8 + 400 × 3 of reasoning + 50 × 2 of citations, and three searches at 0.005
        (RESEARCH, Usage(100, output=1000, reasoning=400, units=(("citation", 50), ("web_search", 3))), 21_300_000),
        # pictures that are not priced apart cost what text does
        (GPT_5, Usage(100, units=(("image_input", 900),)), 1_250_000),
        # groq prints flex at the usual price: 0.15 / 0.60
        (("groq", "openai/gpt-oss-120b"), Usage(1000, output=1000, tier="flex"), 750_000),
    ],
)
def test_a_cost_is_what_the_provider_prints(named: tuple[str, str], usage: Usage, nanousd: int) -> None:
    price = price_of(named)
    assert cost(usage, price) == nanousd
    # What explains it adds up to it.
    assert -(-sum(count * rate for _, count, rate in summands(usage, price)) // TOKENS_PER_RATE) == nanousd


@pytest.mark.parametrize(
    ("named", "usage", "reason"),
    [
        (GPT_5, Usage(1, output=1, units=(("audio_output", 5),)), "no rate for audio_output"),
        (SONNET, Usage(1, output=1, tier="priority"), "no rates for tier priority"),
        (GPT_5, Usage(1, output=1, units=(("code_interpreter", 1),)), "no rate for code_interpreter"),
    ],
)
def test_what_has_no_price_makes_the_whole_unpriced_with_its_reason(
    named: tuple[str, str], usage: Usage, reason: str
) -> None:
    assert cost(usage, price_of(named)) is None
    assert missing(usage, price_of(named)) == reason


@pytest.mark.parametrize("named", [SONNET, GPT_5, SONAR, RESEARCH])
def test_what_is_taken_back_is_what_was_charged(named: tuple[str, str]) -> None:
    price, usage = price_of(named), Usage(1_000_000, 0, output=1_000_000, units=(("web_search", 1000),))
    if missing(usage, price):
        usage = Usage(1_000_000, 0, output=1_000_000)
    charged = cost(usage, price)
    assert charged is not None
    assert cost(usage.negated(), price) == -charged


def test_versions_of_equal_rates_are_equal_and_others_are_not() -> None:
    book = PriceBook()
    versions = {named: price_of(named).version for named in (SONNET, GPT_5, AUDIO, SONAR, RESEARCH)}
    assert len(set(versions.values())) == len(versions)
    again = book.price(1, *SONNET, AT)
    assert again is not None
    assert again.version == versions[SONNET]
