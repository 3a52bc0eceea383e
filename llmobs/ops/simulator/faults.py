"""Scripted faults: for all calls by the command's options, for one call by its header or its prompt.

A directive is one of these; commas separate several:

- `status=529`: an error; `retry_after=3`: with this header. `error200`: an error in a body that comes with 200.
- `slow_ms=200`: before the answer; `chunk_ms=20`: after each chunk. `hang`: no answer at all.
- `drop`: the connection is closed instead of an answer; `cut`: half way through a stream; `half`: half way through
  whatever is answered. `garbage`: a body that is no JSON.
- `first=2`: all of this only for the first two calls with this text; those that follow succeed.

They come in the header `x-simulate`, or, since a gateway may not pass headers on, at the beginning of the last message:
`[[simulate status=529, slow_ms=200]] Hello`. A directive that is not known makes the call a 400: a test that misspells
one fails.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from llmobs.ops.simulator.asked import AskedError

PROMPT_BEGINS, PROMPT_ENDS = "[[simulate ", "]]"
DEFAULT_STATUS = 500
MOST_DIRECTIVES_CHARACTERS = 200
MOST_TEXTS = 10_000  # counted for `first`


@dataclass(frozen=True, slots=True)
class Faults:
    """`fail_rate` of the calls end with `status`; the others wait `slow_ms`, and `chunk_ms` after each chunk."""

    fail_rate: float = 0.0
    status: int = DEFAULT_STATUS
    slow_ms: int = 0
    chunk_ms: int = 0
    cut: bool = False  # streams break off half way, without their end
    drop: bool = False  # the connection is closed instead of an answer
    garbage: bool = False  # 200 with a body that is no JSON
    hang: bool = False  # no answer, until the caller leaves
    error200: bool = False  # an error's body, but the status of a success
    half: bool = False  # half of a stream or of a body, then the connection is closed
    retry_after: int | None = None  # seconds, on errors
    first: int | None = None  # how many calls with the same text get these faults

    @property
    def is_slow(self) -> bool:
        """Whether a whole answer cannot be given at once."""
        return bool(self.slow_ms or self.drop or self.garbage or self.hang or self.error200 or self.half)

    def fails(self, random: Random) -> bool:
        return self.fail_rate > 0 and random.random() < self.fail_rate

    def with_directives(self, text: str) -> "Faults":
        """These faults changed by directives. Raises AskedError."""
        changed = self
        for directive in filter(None, (one.strip() for one in text.split(","))):
            name, _, value = directive.partition("=")
            changed = changed._with(name.strip(), value.strip())
        return changed

    def _with(self, name: str, value: str) -> "Faults":
        number = int(value) if value.isdecimal() else None
        match name:
            case "cut" | "drop" | "garbage" | "hang" | "error200" | "half" if not value:
                return _replaced(self, name, True)
            case "slow_ms" | "chunk_ms" | "retry_after" | "first" if number is not None:
                return _replaced(self, name, number)
            case "status" if number is not None and 400 <= number <= 599:
                return replace(self, status=number, fail_rate=1.0)
        raise AskedError(f"the simulator does not know the directive {name[:50]!r} with {value[:50]!r}")


def _replaced(faults: Faults, name: str, value: Any) -> Faults:
    return replace(faults, **{name: value})


def directives(header: str, last_text: str) -> str:
    """The directives of one call, "" if none."""
    if header or not last_text.startswith(PROMPT_BEGINS):
        return header
    return last_text[len(PROMPT_BEGINS) : MOST_DIRECTIVES_CHARACTERS].partition(PROMPT_ENDS)[0]


class Seen:
    """How often each text with a fault for its first calls was seen."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, str], int] = OrderedDict()

    def again(self, directives: str, text: str) -> int:
        """Count it: 1 for the first time."""
        key = (directives, text)
        times = self._times[key] = self._times.pop(key, 0) + 1
        if len(self._times) > MOST_TEXTS:
            self._times.popitem(last=False)
        return times
