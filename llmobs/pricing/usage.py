"""The one normal form of usage: token classes that do not overlap, each with its own price."""

from collections.abc import Mapping, Sequence

import msgspec

# Units that are tokens, and the class that the tables count them in (`Usage.plain`). All others are counts of something
# else: web_search, file_search, code_interpreter, requests.
CLASS_OF_UNIT = {
    "audio_input": "uncached_input",
    "image_input": "uncached_input",
    "video_input": "uncached_input",
    "audio_cache_read": "cache_read",
    "image_cache_read": "cache_read",
    "video_cache_read": "cache_read",
    "audio_output": "output",
    "image_output": "output",
    "video_output": "output",
}
_CLASSES = ("uncached_input", "cache_read", "output")


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one provider response. The classes are disjoint, but `reasoning` is a part of `output`.

    `input_tokens` includes cached tokens, as OpenTelemetry counts them (Anthropic's own number does not).
    `units`: what is none of the six classes of text tokens, as sorted pairs of a name and a count; those of tokens are
    in no class but within `input_tokens` and `total`. `tier`: "", or batch, priority, flex, where it is priced apart.
    """

    uncached_input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    units: tuple[tuple[str, int], ...] = ()
    tier: str = ""

    @property
    def input_tokens(self) -> int:
        total = self.uncached_input + self.cache_read + self.cache_write_5m + self.cache_write_1h
        if self.units:
            total += sum(count for unit, count in self.units if CLASS_OF_UNIT.get(unit, "output") != "output")
        return total

    @property
    def output_tokens(self) -> int:
        """All that was written, in sound and pictures too."""
        if self.units:
            return self.output + sum(count for unit, count in self.units if CLASS_OF_UNIT.get(unit) == "output")
        return self.output

    @property
    def cache_creation(self) -> int:
        return self.cache_write_5m + self.cache_write_1h

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    def plain(self) -> "Usage":
        """The six classes alone, with what of each is sound or pictures: as spans, bills and roll-ups count them."""
        if not self.units:
            return self
        added = _tokens_of(dict(self.units))
        return Usage(
            self.uncached_input + added[0],
            self.cache_read + added[1],
            self.cache_write_5m,
            self.cache_write_1h,
            self.output + added[2],
            self.reasoning,
        )

    def negated(self) -> "Usage":
        """What takes it back."""
        return Usage(
            -self.uncached_input,
            -self.cache_read,
            -self.cache_write_5m,
            -self.cache_write_1h,
            -self.output,
            -self.reasoning,
            tuple((unit, -count) for unit, count in self.units),
            self.tier,
        )


def stored_usage(classes: Sequence[int], units: Mapping[str, int] | None, tier: str = "") -> Usage:
    """The usage of a stored row: its six classes, its `units` (None where it has none) and its tier.

    The stored classes include sound and pictures, so that any sum over them is of all tokens; here they come apart.
    """
    uncached, read, write_5m, write_1h, output, reasoning = classes
    if not units:
        return Usage(uncached, read, write_5m, write_1h, output, reasoning, (), tier)
    within = _tokens_of(units)
    return Usage(
        uncached - within[0],
        read - within[1],
        write_5m,
        write_1h,
        output - within[2],
        reasoning,
        tuple(sorted(units.items())),
        tier,
    )


def _tokens_of(units: Mapping[str, int]) -> tuple[int, ...]:
    """How many tokens of these units the tables count as uncached input, cache read, output."""
    found = dict.fromkeys(_CLASSES, 0)
    for unit, count in units.items():
        if (kind := CLASS_OF_UNIT.get(unit)) is not None:
            found[kind] += count
    return tuple(found.values())
