"""Entries into groups of pieces, one per transaction; a group is translated when the one before it is written.

Translating in a second thread while PostgreSQL writes was tried: no faster on two cores, so there is none.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from llmobs.core.clock import now_ns
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Piece, Translator, Unreadable


@dataclass(slots=True)
class Group:
    """What one transaction writes. `unreadable`: entries to bury, each with the reason."""

    pieces: list[Piece] = field(default_factory=list)
    unreadable: list[tuple[Found, str]] = field(default_factory=list)
    is_last: bool = False


def translated(translator: Translator, found: list[Found], most_spans: int) -> Iterator[Group]:
    """Groups of about so many spans, entries whole and in their order; at least one."""
    entries = deque(found)
    while True:
        group = _next_group(translator, entries, most_spans)
        yield group
        if group.is_last:
            return


def _next_group(translator: Translator, entries: deque[Found], most_spans: int) -> Group:
    group = Group()
    spans = 0
    while entries and spans < most_spans:
        found = entries.popleft()
        try:
            piece = translator.piece(found, now_ns())
        except Unreadable as reason:
            group.unreadable.append((found, str(reason)))
        except Exception as error:
            # One body that cannot be read must not hold up the others, whatever is wrong with it.
            group.unreadable.append((found, f"it does not decode: {type(error).__name__}"))
        else:
            group.pieces.append(piece)
            spans += len(piece.spans)
    group.is_last = not entries
    return group
