"""The one normal form of usage: token classes that do not overlap, each with its own price."""

import msgspec


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one provider response. The classes are disjoint, but `reasoning` is a part of `output`.

    `input_tokens` includes cached tokens, as OpenTelemetry counts them (Anthropic's own number does not).
    """

    uncached_input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def input_tokens(self) -> int:
        return self.uncached_input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def cache_creation(self) -> int:
        return self.cache_write_5m + self.cache_write_1h

    @property
    def total(self) -> int:
        return self.input_tokens + self.output
