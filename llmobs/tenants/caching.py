"""How a tenant's answers are cached: off or exact, for how long by feature, in how much memory."""

from collections.abc import Mapping
from typing import Any

OFF, EXACT, SEMANTIC = "off", "exact", "semantic"
ANY_FEATURE = "*"
DEFAULT_TTL_SECONDS = 3600
MOST_TTL_SECONDS = 30 * 86_400  # an answer older than a month is no answer to today's question
DEFAULT_MB, MOST_MB = 64, 65_536


def mode_error(mode: object, is_key: bool) -> str:
    """What is wrong with a setting of the cache, "" for nothing. A key may leave it to its tenant ("")."""
    if mode == SEMANTIC:
        return "The semantic cache is not in this version; use exact or off."
    if mode in (OFF, EXACT) or (is_key and mode == ""):
        return ""
    return f"{mode!r}: the cache is off or exact{', or empty: as the tenant says' if is_key else ''}."


def ttl_error(ttl_seconds: object) -> str:
    """What is wrong with the times by feature, "" for nothing."""
    if not isinstance(ttl_seconds, dict):
        return 'Seconds by feature, such as {"faq": 172800, "*": 3600}.'
    for feature, seconds in ttl_seconds.items():
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds <= MOST_TTL_SECONDS:
            return (
                f"{feature!r}: {seconds!r} is not a whole number of seconds from 0 (not at all) to {MOST_TTL_SECONDS}."
            )
    return ""


def ttl_for(ttl_seconds: Mapping[str, Any], feature: str) -> int:
    """How many seconds an answer to this feature counts; 0: not at all."""
    found = ttl_seconds.get(feature) if feature and feature != ANY_FEATURE else None
    if found is None:
        found = ttl_seconds.get(ANY_FEATURE, DEFAULT_TTL_SECONDS)
    return int(found)
