"""How many tokens a call will take, before anyone has counted: learned from what providers reported.

1. Input: a token for each four characters of the request, at least one, until the model has reported any usage;
   then as many for each byte as its calls took, and twice their mean deviation above it: a model that is asked in
   English and in Chinese is estimated by neither alone.
2. Output: the request's ceiling; without one what the model's answers took so far, with the same margin. Its own
   ceiling would keep a quota of a day in the hands of one call.

A limit of tokens holds the estimate and is settled to what was used, so a wrong estimate is wrong for one call's time.
Not for money: budgets hold an upper bound (`admission`).
"""

import re

from gateway.dialects.dialect import IMAGE_TOKENS, Asked

BYTES_PER_TOKEN = 4  # S0-23
FIRST_OUTPUT_TOKENS = 1_024  # of a model that nobody has asked yet: as a chat's answer is capped by default (S3-14)
LEAST_BYTES = 64  # shorter requests are mostly JSON's own words: nothing is learned from them

LEARNING = 0.1  # weight of the newest call, once ten are known; before, each weighs the same
DEVIATIONS = 2.0  # above the mean: few calls take more
MOST_MODELS = 4096  # names come from callers: when full, all is forgotten and learned anew

IMAGE_ESTIMATE_TOKENS = 1_500  # a photo of one megapixel at the providers' own formulas (765 to 1,600)
# From a run's beginning alone: runs that are a little too short would be read again from each of their letters.
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{1024,}")

Model = tuple[str, str]  # provider, model


class _Mean:
    """A moving mean with its mean deviation."""

    __slots__ = ("count", "deviation", "mean")

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.count += 1
        weight = max(LEARNING, 1.0 / self.count)
        if self.count > 1:
            self.deviation += weight * (abs(value - self.mean) - self.deviation)
        self.mean += weight * (value - self.mean)

    @property
    def upper(self) -> float:
        return self.mean + DEVIATIONS * self.deviation


class Estimates:
    """What one gateway has learned of its models."""

    def __init__(self) -> None:
        self._inputs: dict[Model, _Mean] = {}  # tokens for each byte
        self._outputs: dict[Model, _Mean] = {}  # tokens of one choice

    def estimate_input(self, provider: str, model: str, body_bytes: int) -> int:
        """Tokens that a request of so many bytes will take, rather too many than too few."""
        learned = self._inputs.get((provider, model))
        return max(1, round(body_bytes / BYTES_PER_TOKEN if learned is None else body_bytes * learned.upper))

    def expected_input(self, provider: str, model: str, body_bytes: int) -> int:
        """The same without a margin: for what refuses a request for ever, as a cap does."""
        learned = self._inputs.get((provider, model))
        return max(1, round(body_bytes / BYTES_PER_TOKEN if learned is None else body_bytes * learned.mean))

    def estimate_output(self, provider: str, model: str, ceiling_tokens: int | None) -> int:
        """Tokens that one choice of an answer will take."""
        if ceiling_tokens is not None:
            return ceiling_tokens
        learned = self._outputs.get((provider, model))
        return FIRST_OUTPUT_TOKENS if learned is None else max(1, round(learned.upper))

    def learn(self, provider: str, model: str, body_bytes: int, input_tokens: int) -> None:
        """A request of so many bytes took so many tokens."""
        if body_bytes >= LEAST_BYTES and input_tokens > 0:
            _of(self._inputs, (provider, model)).add(input_tokens / body_bytes)

    def learn_output(self, provider: str, model: str, output_tokens: int) -> None:
        """One choice of an answer that had no ceiling took so many tokens."""
        _of(self._outputs, (provider, model)).add(float(output_tokens))


def text_bytes(body: bytes, asked: Asked) -> tuple[int, int]:
    """Bytes of a request that are text, and tokens of the pictures and files in it, of which bytes say nothing."""
    if asked.unseen_input_tokens < IMAGE_TOKENS:
        return len(body), 0
    pictures = asked.unseen_input_tokens // IMAGE_TOKENS
    embedded = sum(len(found) for found in _BASE64.findall(body))
    return len(body) - embedded, min(pictures * IMAGE_ESTIMATE_TOKENS, asked.unseen_input_tokens)


def _of(kept: dict[Model, _Mean], model: Model) -> _Mean:
    found = kept.get(model)
    if found is None:
        if len(kept) >= MOST_MODELS:
            kept.clear()
        found = kept[model] = _Mean()
    return found
