"""Embedding vectors, wherever they stand: lists of numbers with fractions, of which only the dimension is kept.

A list of at least 64 numbers is one, if one of the first eight has a fraction; a list of such lists is several. No
model's vectors are shorter; shorter lists are what somebody wrote or measured.
"""

import re
from typing import Any

from llmobs.guards.linear import finder

SHORTEST_VECTOR = 64  # numbers
FIRST = 8
SHORTEST_TEXT = 2 + SHORTEST_VECTOR * 2  # characters of such a list

_GAP = r"[\s\\nrt]*"  # also as it is within JSON within JSON
_NUMBER = r"-?\d[\d.eE+-]*"
# A fraction, and behind it another number or a list's end: most texts have none, and a look takes 0.2 µs of 2 KB.
SIGN = rf"\.\d[\deE+-]*{_GAP}(?:,{_GAP}-?\d|\])"
_may_hold = finder((rf"(?:{_NUMBER}{_GAP},{_GAP}){{{SHORTEST_VECTOR - 1}}}-?\d",))
# A vector, also one whose end was cut off.
_VECTOR = re.compile(
    rf"\[{_GAP}(?:{_NUMBER}{_GAP},{_GAP}){{{SHORTEST_VECTOR - 1},}}(?:{_NUMBER}{_GAP}\]|-?[\d.eE+-]*\Z)"
)


def may_stand_in(text: str) -> bool:
    """Whether a run of numbers stands in a text, of which `SIGN` was found; False is certain."""
    return _may_hold(text)


def dimension(values: list[Any]) -> int:
    """How many numbers a vector has; 0 for any other list."""
    if len(values) < SHORTEST_VECTOR or float not in map(type, values[:FIRST]):
        return 0
    return len(values) if all(type(each) in (int, float) for each in values) else 0


def left_out(text: str) -> str:
    """A text that is no JSON (or not whole) with dimensions in place of vectors."""
    return _VECTOR.sub(_of_text, text)


def _of_text(found: re.Match[str]) -> str:
    numbers = found[0].split(",")
    has_fraction = any("." in number for number in numbers[:FIRST])
    return f'{{"dimension":{len(numbers)}}}' if has_fraction else found[0]
