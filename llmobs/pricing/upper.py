"""The most that a request may be billed, where it asks for more than text at the usual tier.

Each kind that its input or output may be of, and each tier that it may be given, is tried; the dearest is the bound.
"""

from itertools import product

import msgspec
from msgspec.structs import replace

from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.tiers import AUTO, STANDARD
from llmobs.pricing.usage import CLASS_OF_UNIT, Usage

# What a provider may give where it chooses: batches and fast answers have to be asked for.
_CHOSEN = frozenset({"flex", "priority"})


class Apart(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for besides text at the usual tier."""

    units: tuple[tuple[str, int], ...] = ()  # that it may use, at most so many
    kinds: tuple[str, ...] = ()  # units of tokens that any of its input or output may be
    tier: str = ""  # as the request says it, `auto` and `default` too; "": it names none


NOTHING = Apart()


def upper_apart(usage: Usage, apart: Apart, price: Price | None, unasked: tuple[str, ...] = ()) -> Usage:
    """The dearest usage within the bound `usage` of text. Where a possible part has no price, one with that part: its
    cost is not known. `unasked`: tiers that the provider may give to a request that names none, `auto` for any.
    """
    if price is None:
        return replace(
            usage, units=tuple(sorted(apart.units)), tier="" if apart.tier in (AUTO, STANDARD) else apart.tier
        )
    dearest, most = usage, -1
    for tier, given, answered in product(_tiers(apart.tier, price, unasked), *_kinds(apart)):
        tried = upper_length(replace(_as_kinds(usage, given, answered, apart), tier=tier), price)
        nanousd = cost(tried, price)
        if nanousd is None:
            return tried
        if nanousd > most:
            dearest, most = tried, nanousd
    return dearest


def upper_length(usage: Usage, price: Price) -> Usage:
    """The dearest usage of at most this input: where long inputs cost less, a shorter one may cost more."""
    dearest, at_tier = usage, price.at_tier(usage.tier)
    for tier in at_tier.tiers if at_tier is not None else ():
        if usage.input_tokens > tier.above_input_tokens:
            shorter = _cut(usage, tier.above_input_tokens)
            if (cost(shorter, price) or 0) > (cost(dearest, price) or 0):
                dearest = shorter
    return dearest


def _cut(usage: Usage, most: int) -> Usage:
    """With no more input tokens than so many, of whatever class they are."""
    units = dict(usage.units)
    for unit in units.keys() & CLASS_OF_UNIT.keys():
        if CLASS_OF_UNIT[unit] != "output":
            units[unit] = min(units[unit], most)
    return replace(
        usage,
        uncached_input=min(usage.uncached_input, most),
        cache_write_5m=min(usage.cache_write_5m, most),
        cache_write_1h=min(usage.cache_write_1h, most),
        units=tuple(sorted(units.items())),
    )


def _tiers(asked: str, price: Price, unasked: tuple[str, ...]) -> tuple[str, ...]:
    """Whatever was asked for may be answered at the usual tier instead. A model that has no price at a tier that
    nobody asked for is not offered there.
    """
    if asked == STANDARD:
        return ("",)
    if asked and asked != AUTO:
        return ("", asked)
    may_choose = _CHOSEN if asked == AUTO or AUTO in unasked else frozenset()
    return ("", *(found.tier for found in price.at_tiers if found.tier in may_choose or found.tier in unasked))


def _kinds(apart: Apart) -> tuple[list[str], list[str]]:
    given = [kind for kind in apart.kinds if CLASS_OF_UNIT[kind] != "output"]
    return ["", *given], ["", "reasoning", *(kind for kind in apart.kinds if CLASS_OF_UNIT[kind] == "output")]


def _as_kinds(usage: Usage, given: str, answered: str, apart: Apart) -> Usage:
    """The same bound with all of its input, all of its output as another kind."""
    units = dict(apart.units)
    tried = usage
    if given:
        units[given] = units.get(given, 0) + usage.input_tokens
        tried = replace(tried, uncached_input=0, cache_read=0, cache_write_5m=0, cache_write_1h=0)
    if answered == "reasoning":
        tried = replace(tried, reasoning=usage.output)
    elif answered:
        units[answered] = units.get(answered, 0) + usage.output
        tried = replace(tried, output=0)
    return replace(tried, units=tuple(sorted((unit, count) for unit, count in units.items() if count)))
