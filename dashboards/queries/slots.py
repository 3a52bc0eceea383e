"""Colours: a model keeps its slot for ever, given in order of first sight."""

from collections.abc import Iterable

from dashboards.queries.scope import Cursor

MOST_COLOURS = 8  # --c1 … --c8; what is seen later is "other", grey


def slots_of(cursor: Cursor, names: Iterable[str], kind: str = "model") -> dict[str, int]:
    """The slot of each model (or provider), from 1; one seen for the first time gets the next.

    Two pages that see new names at once race for a slot: the names then share a colour, which is accepted.
    """
    wanted = list(dict.fromkeys(name for name in names if name))
    found = _read(cursor, kind, wanted)
    unseen = [name for name in wanted if name not in found]
    if not unseen:
        return found
    cursor.execute(
        "INSERT INTO pricing_slot (kind, name, slot) "
        "SELECT %s, new.name, (SELECT coalesce(max(slot), 0) FROM pricing_slot WHERE kind = %s) + new.n "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS new(name, n) ON CONFLICT (kind, name) DO NOTHING",
        [kind, kind, unseen],
    )
    return found | _read(cursor, kind, unseen)


def colour(slot: int | None) -> str:
    """The token of a slot: c1 … c8, or c-other."""
    return f"c{slot}" if slot is not None and 1 <= slot <= MOST_COLOURS else "c-other"


def _read(cursor: Cursor, kind: str, names: list[str]) -> dict[str, int]:
    cursor.execute("SELECT name, slot FROM pricing_slot WHERE kind = %s AND name = ANY(%s)", [kind, names])
    return dict(cursor.fetchall())
