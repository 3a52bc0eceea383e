"""Scripted faults: for all calls by the command's options, for one call by its header or its prompt.

A directive is `status=529`, `slow_ms=200`, `chunk_ms=20`, `cut`, `drop` or `garbage`; commas separate several. They
come in the header `x-simulate`, or, since a gateway may not pass headers on, at the beginning of the last message:
`[[simulate status=529, slow_ms=200]] Hello`. A directive that is not known makes the call a 400: a test that misspells
one fails.
"""

from dataclasses import dataclass, replace
from random import Random

from llmobs.ops.simulator.asked import AskedError

PROMPT_BEGINS, PROMPT_ENDS = "[[simulate ", "]]"
DEFAULT_STATUS = 500
MOST_DIRECTIVES_CHARACTERS = 200


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
            case "cut" if not value:
                return replace(self, cut=True)
            case "drop" if not value:
                return replace(self, drop=True)
            case "garbage" if not value:
                return replace(self, garbage=True)
            case "slow_ms" if number is not None:
                return replace(self, slow_ms=number)
            case "chunk_ms" if number is not None:
                return replace(self, chunk_ms=number)
            case "status" if number is not None and 400 <= number <= 599:
                return replace(self, status=number, fail_rate=1.0)
        raise AskedError(f"the simulator does not know the directive {name[:50]!r} with {value[:50]!r}")


def directives(header: str, last_text: str) -> str:
    """The directives of one call, "" if none."""
    if header or not last_text.startswith(PROMPT_BEGINS):
        return header
    return last_text[len(PROMPT_BEGINS) : MOST_DIRECTIVES_CHARACTERS].partition(PROMPT_ENDS)[0]
