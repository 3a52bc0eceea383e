"""Tokens that both sides have, in different cells: our side is moved, at our rates, and the move is named.

What the provider counts as another class (a cache write as plain input) or at another tier (batch as standard) is a
surplus in one cell and as large a deficit in others of the same day and model. Moving them costs or saves what the
rates differ by; it is named in both cells, so that each cell's parts add up.
"""

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from llmobs.reconcile import amounts
from llmobs.reconcile.amounts import Books, Key, Part, exact
from llmobs.reconcile.rates import rate_behind
from llmobs.reconcile.rows import INPUTS


def tiers(books: Books) -> list[Part]:
    """Tokens of a class that they have at another tier."""
    found: dict[tuple[object, ...], list[Key]] = defaultdict(list)
    for key in books.cells():
        if key.day in books.with_usage:
            found[key.day, key.model, key.token_class].append(key)
    return [part for keys in found.values() for part in _level(books, keys, amounts.TIER)]


def classes(books: Books) -> list[Part]:
    """Tokens of input that they have in another class."""
    found: list[Part] = []
    for group, keys in books.groups():
        if group.day in books.with_usage:
            found += _level(books, [key for key in keys if key.token_class in INPUTS], amounts.CLASS)
    return found


def _level(books: Books, keys: Iterable[Key], name: str) -> list[Part]:
    gaps: dict[Key, int] = {key: books.gap(key) for key in keys}
    if not any(gaps.values()) or sum(gaps.values()) != 0:
        return []
    parts = []
    takers = [key for key, gap in gaps.items() if gap > 0]
    for giver, gap in list(gaps.items()):
        left = -gap
        while left > 0:
            taker = takers[0]
            tokens = min(left, gaps[taker])
            parts += _move(books, giver, taker, tokens, name)
            left -= tokens
            gaps[taker] -= tokens
            if not gaps[taker]:
                takers.pop(0)
    return parts


def _move(books: Books, giver: Key, taker: Key, tokens: int, name: str) -> list[Part]:
    here, there = books.ours[giver], books.ours[taker]
    out = Fraction(exact(here.cost * tokens / here.quantity)) if here.quantity else Fraction(0)
    rate = books.our_rate(taker)
    if rate is None:
        billed = books.theirs[taker]
        rate = rate_behind(billed.amount, billed.quantity, billed.tolerance, None)
        rate = rate if rate is not None else Fraction(billed.amount) / billed.quantity
    priced = here.priced * tokens // here.quantity if here.quantity else 0
    here.add(-tokens, -priced, -out)
    cost = exact(tokens * rate)
    there.add(tokens, tokens, Fraction(cost))
    detail: dict[str, object] = {
        "from": giver.tier if name == amounts.TIER else giver.token_class,
        "to": taker.tier if name == amounts.TIER else taker.token_class,
    }
    return [
        Part(giver, name, -exact(out), -tokens, detail=detail),
        Part(taker, name, cost, tokens, detail=detail),
    ]
