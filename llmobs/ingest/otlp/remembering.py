"""What names alone decide, worked out once for the few that an exporter sends over and over: bounded in memory.

A cache of so many answers is bounded by its count only where its questions are: a sender may call an attribute by a
megabyte, or give a span a hundred thousand of them. Such names are answered, and not remembered.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

LONGEST = 8192  # bytes of a question, about: with 2,048 of them 16 MB
_OF_A_NAME = 64  # bytes that each of many takes besides its letters

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def remembering(most: int) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """For pure functions of texts, tuples of texts and truths, by position."""

    def decorated(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
        known = lru_cache(maxsize=most)(function)

        @wraps(function)
        def asked(*given: Given.args, **named: Given.kwargs) -> Answer:
            return known(*given) if _size(given) <= LONGEST else function(*given, **named)

        asked.cache_info = known.cache_info  # type: ignore[attr-defined]
        return asked

    return decorated


def _size(given: tuple[object, ...]) -> int:
    size = 0
    for each in given:
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, tuple):
            size += sum(map(len, each)) + len(each) * _OF_A_NAME
    return size
