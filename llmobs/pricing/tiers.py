"""Tiers of service as multiples of the usual rates, where the price data has no rates of their own: data, like prices.

Rates of tokens are multiplied, prices of searches and requests are not.
"""

from dataclasses import dataclass
from decimal import Decimal

# What providers call the usual tier, in requests and answers.
USUAL = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
FAST = "fast"
# As a request says it: the provider chooses; the usual tier, whatever its account is set to.
AUTO, STANDARD = "auto", "default"
TIERS = ("batch", "flex", "priority", FAST)


@dataclass(frozen=True, slots=True)
class Multiple:
    """A tier's rates as a multiple of the usual ones."""

    provider: str  # as genai-prices calls it
    tier: str
    times: Decimal
    source: str
    checked_on: str


MULTIPLES = (
    Multiple(
        "anthropic",
        "batch",
        Decimal("0.5"),
        "platform.claude.com/docs/en/about-claude/pricing: batch processing takes half of input and output",
        "2026-11-21",
    ),
    Multiple(
        "openai",
        "batch",
        Decimal("0.5"),
        "developers.openai.com/api/docs/pricing: the batch API takes half of input and output",
        "2026-11-21",
    ),
    Multiple(
        "groq",
        "flex",
        Decimal(1),
        "console.groq.com/docs/flex-processing: pricing matches the on-demand tier",
        "2026-11-21",
    ),
)


def asked_tier(given: object) -> str:
    """The tier that a request asks for, `auto` and `default` too; "" where it names none: its account's setting."""
    if given == AUTO:
        return AUTO
    return tier_name(given) or (STANDARD if isinstance(given, str) and given else "")


def tier_name(given: object) -> str:
    """A provider's word for a tier as the one that prices go by; "" for the usual one."""
    if not isinstance(given, str):
        return ""
    name = given[:40].lower()
    return "" if name in USUAL else name
