"""Entries into groups of pieces, one per transaction: translated, then written, one after the other.

A thread that translates the next group while one is written makes this slower (6,264 spans/s against 7,438, 183 µs of
CPU a span against 153, `tests.bench ingest`): its turns cost more than they give, and it wants smaller groups.
"""

from collections import deque
from collections.abc import Generator
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
    """Groups of about so many spans, entries whole and in their order; at least one.

    The translator's configuration must stay as it is until the last one has come, or the generator is closed. None is
    kept here: who lets go of one before it asks for the next has the memory of one.
    """
    entries = deque(found)
    yield _next_group(translator, entries, most_spans)
    while entries:
        yield _next_group(translator, entries, most_spans)


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
