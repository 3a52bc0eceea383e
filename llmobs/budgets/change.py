"""Why one time cost more than another: volume, mix of models, tokens per call, cache share, price; parts that add up.

The factors are changed one after the other, in this order, from what they were to what they are; each part is the
difference that its step makes. So the parts add up to the whole change exactly, whatever the figures are. A model that
was not there before is taken to have been as it is now, with no calls. What rates do not explain (long-context tiers,
units, roundings, adjustments) is `other`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from llmobs.pricing.price import TOKENS_PER_RATE, Rates
from llmobs.pricing.usage import Usage


@dataclass(frozen=True)
class Cost:
    """What one model's calls came to in a time. Without calls nothing else is asked."""

    calls: int
    usage: Usage
    rates: Rates
    cost_nanousd: int


@dataclass(frozen=True)
class Change:
    """Nano-USD by cause; they add up to what the later time cost more."""

    volume: int
    mix: int
    tokens: int
    cache: int
    price: int
    other: int

    @property
    def total(self) -> int:
        return self.volume + self.mix + self.tokens + self.cache + self.price + self.other


@dataclass(frozen=True)
class _Call:
    """A model's mean call: its tokens, and the shares of its input that each class is."""

    input: Fraction
    output: Fraction
    shares: tuple[Fraction, Fraction, Fraction, Fraction]
    rates: Rates

    def nanousd(self) -> Fraction:
        rates = self.rates
        classes = (rates.uncached_input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h)
        input_rate = sum((share * rate for share, rate in zip(self.shares, classes, strict=True)), Fraction(0))
        return (self.input * input_rate + self.output * rates.output) / TOKENS_PER_RATE


def explain(before: Mapping[str, Cost], after: Mapping[str, Cost]) -> Change:
    """The change from one time to another, by model."""
    names = sorted(name for name in before.keys() | after.keys() if _calls(before, name) or _calls(after, name))
    old = {name: _call(before[name] if _calls(before, name) else after[name]) for name in names}
    new = {name: _call(after[name] if _calls(after, name) else before[name]) for name in names}
    n_old, n_new = (sum(_calls(side, name) for name in names) for side in (before, after))
    mix_old, mix_new = _mix(before, names, n_old), _mix(after, names, n_new)
    mix_old, mix_new = mix_old or mix_new, mix_new or mix_old
    longer = {m: _Call(new[m].input, new[m].output, old[m].shares, old[m].rates) for m in names}
    cached = {m: _Call(new[m].input, new[m].output, new[m].shares, old[m].rates) for m in names}
    steps = [
        _sum(n_old, mix_old, old),
        _sum(n_new, mix_old, old),
        _sum(n_new, mix_new, old),
        _sum(n_new, mix_new, longer),
        _sum(n_new, mix_new, cached),
        _sum(n_new, mix_new, new),
    ]
    whole = [round(step) for step in steps]
    volume, mix, tokens, cache, price = (later - earlier for earlier, later in pairwise(whole))
    changed = sum(each.cost_nanousd for each in after.values()) - sum(each.cost_nanousd for each in before.values())
    return Change(volume, mix, tokens, cache, price, changed - (whole[-1] - whole[0]))


def _calls(side: Mapping[str, Cost], name: str) -> int:
    return max(side[name].calls, 0) if name in side else 0


def _mix(side: Mapping[str, Cost], names: list[str], calls: int) -> dict[str, Fraction]:
    return {name: Fraction(_calls(side, name), calls) for name in names} if calls else {}


def _call(cost: Cost) -> _Call:
    usage, calls = cost.usage, max(cost.calls, 1)
    total = usage.uncached_input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h
    classes = (usage.uncached_input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h)
    none = (Fraction(1), Fraction(0), Fraction(0), Fraction(0))
    first, second, third, fourth = (Fraction(each, total) for each in classes) if total else none
    return _Call(Fraction(total, calls), Fraction(usage.output, calls), (first, second, third, fourth), cost.rates)


def _sum(calls: int, mix: Mapping[str, Fraction], of: Mapping[str, _Call]) -> Fraction:
    return sum((calls * share * of[name].nanousd() for name, share in mix.items()), Fraction(0))
