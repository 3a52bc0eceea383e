"""Entries into groups: in their order, and whole."""

from typing import cast

from llmobs.ingest.entries import Refused
from llmobs.ingest.groups import Group, translated
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Piece, Translator, Unreadable
from llmobs.spans.record import Span
from tests.ingest.making import call

SPANS = [call() for _ in range(7)]


class Poisoned:
    """A translator: position 3 is poison, each other position one span."""

    def piece(self, found: Found, now_ns: int) -> Piece:
        if found.position == 3:
            raise Unreadable("poison")
        return Piece(found, spans=[SPANS[found.position]])


def _groups(translator: Poisoned, count: int, most: int) -> list[Group]:
    found = [Found("owner", position, cast(Refused, None)) for position in range(count)]
    return list(translated(cast(Translator, translator), found, most))


def _spans(groups: list[Group]) -> list[list[Span]]:
    return [[span for piece in group.pieces for span in piece.spans] for group in groups]


def test_groups_hold_the_entries_in_their_order() -> None:
    groups = _groups(Poisoned(), 7, 2)
    assert _spans(groups) == [SPANS[0:2], [SPANS[2], SPANS[4]], SPANS[5:7]]
    assert [group.is_last for group in groups] == [False, False, True]
    assert [[found.position for found, _ in group.unreadable] for group in groups] == [[], [3], []]


def test_nothing_to_write_is_one_group() -> None:
    assert [(group.pieces, group.is_last) for group in _groups(Poisoned(), 0, 2)] == [([], True)]
