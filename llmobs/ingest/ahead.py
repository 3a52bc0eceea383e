"""Entries into groups of pieces, one per transaction; the next group is translated while the last one is written.

Translating is Python's work, writing is mostly PostgreSQL's: two cores do both at once. At most one group is made
ahead. The thread only translates: it touches no connection, so what it could not read comes with the group.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
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


def translated(translator: Translator, found: list[Found], most_spans: int) -> Generator[Group, None, None]:
    """Groups of about so many spans, entries whole and in their order; at least one. Closing waits for the thread."""
    entries = deque(found)
    group = _next_group(translator, entries, most_spans)
    with ThreadPoolExecutor(1, "translate") as ahead:
        while True:
            coming = None if group.is_last else ahead.submit(_next_group, translator, entries, most_spans)
            yield group
            if coming is None:
                return
            group = coming.result()


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
