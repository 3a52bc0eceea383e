"""Splits each cell's difference into named parts which add up to it exactly.

Steps, each on what the ones before have left, in this order; all are pure and give the same for the same books:

1. Lines that are no usage (credits, taxes, storage) are taken off whole.
2. Keys that are none of the gateway's: their tokens are *outside*, at the rate of their line. Where our bills have
   these tokens too, the key is ours and *not mapped*: no money, but a thing to set right.
3. Tokens that are in another tier or class there: the same sum, otherwise divided (`moving.py`).
4. Tokens that are on the neighbouring day there, as our bills' hours say (`zones.py`); then 3 once more.
5. Where the provider counts more calls than we, or calls of a model of which we have none, its surplus is *outside*.
6. A cell at a time: what our bills have without a price is *unpriced*, at the provider's rate; tokens that one side
   has more are *tokens*, at our rate; then the quantities are the same, and a rate that differs is *price*.
7. What is left is *rounding* as long as the lines' rounding, and ours of a bill, can come to it. Else it is residual.
"""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from llmobs.reconcile import amounts, moving, zones
from llmobs.reconcile.amounts import Books, Calls, Group, Key, Ours, Part, Theirs, exact
from llmobs.reconcile.rates import rate_behind
from llmobs.reconcile.rows import OTHER

PRIORITY = "priority"
_NANOUSD_A_CALL = 1  # our bills are rounded up to a nano-USD, once for each call


def name_differences(books: Books, mapped_keys: Mapping[str, str]) -> list[Part]:
    """All parts, the residual ones too. `mapped_keys`: the gateway's, by the provider's id; none: not told apart."""
    parts = _no_usage(books)
    if mapped_keys:
        parts += _other_keys(books, mapped_keys)
    parts += moving.tiers(books) + moving.classes(books)
    parts += zones.shifted(books)
    parts += moving.tiers(books) + moving.classes(books)
    parts += _more_calls(books, bool(mapped_keys))
    for key in books.cells():
        parts += _cell(books, key)
    for group, calls in sorted(books.calls.items()):
        parts += _round_up(books, group, calls)
    return [part for part in parts if part.amount or part.name == amounts.NOT_MAPPED]


def _no_usage(books: Books) -> list[Part]:
    parts = []
    for key in books.cells():
        there = books.theirs.get(key)
        if key.token_class == OTHER and there is not None:
            parts.append(Part(key, amounts.NO_USAGE, there.amount, detail={"line": key.model}))
            there.amount = Decimal(0)
    return parts


def _other_keys(books: Books, mapped: Mapping[str, str]) -> list[Part]:
    parts = []
    for group, keys in books.groups():
        strangers = sorted({k for key in keys if key in books.theirs for k in books.theirs[key].by_key} - mapped.keys())
        for stranger in strangers:
            if _is_ours(books, keys, stranger):
                tokens = sum(books.theirs[key].by_key.get(stranger, 0) for key in keys if key in books.theirs)
                detail: dict[str, object] = {"key": stranger}
                parts.append(Part(Key(*group, ""), amounts.NOT_MAPPED, Decimal(0), tokens, detail=detail))
                continue
            calls = told = books.their_calls_by_key.get(group, {}).get(stranger, 0)
            for key in keys:
                there = books.theirs.get(key)
                tokens = there.by_key.get(stranger, 0) if there is not None else 0
                if there is not None and tokens:
                    parts.append(_outside(books, key, there, tokens, told, {"key": stranger}))
                    told = 0  # once for all of its classes
            if calls:
                books.their_calls[group] -= calls
    return parts


def _is_ours(books: Books, keys: list[Key], stranger: str) -> bool:
    """Whether our bills are nearer to the provider's figures with this key than without it."""
    with_it = sum(abs(books.gap(key)) for key in keys)
    without = 0
    for key in keys:
        there = books.theirs.get(key)
        without += abs(books.gap(key) - (there.by_key.get(stranger, 0) if there else 0))
    return with_it < without


def _more_calls(books: Books, has_mapped_keys: bool) -> list[Part]:
    parts = []
    for group, keys in books.groups():
        calls = books.calls.get(group, Calls())
        if group in books.their_calls:
            more = books.their_calls[group] - calls.count
            is_outside = more > 0
        else:
            more = 0
            is_outside = calls.count == 0 or (not has_mapped_keys and calls.estimated == 0)
        if group.day not in books.with_usage or not is_outside:
            continue
        for key in keys:
            there, tokens = books.theirs.get(key), books.gap(key)
            if there is not None and tokens > 0:
                parts.append(_outside(books, key, there, tokens, more, {}))
                more = 0
    return parts


def _outside(books: Books, key: Key, there: Theirs, tokens: int, calls: int, detail: dict[str, object]) -> Part:
    """Take tokens off a cell of theirs, at the rate that it was billed with."""
    rate = rate_behind(there.amount, there.quantity, there.tolerance, books.our_rate(key))
    share = tokens * rate if rate is not None else Fraction(there.amount) * tokens / there.quantity
    amount = exact(share) if tokens < there.quantity else there.amount
    there.quantity -= tokens
    there.amount -= amount
    return Part(key, amounts.OUTSIDE, amount, tokens, max(0, calls), detail)


def _cell(books: Books, key: Key) -> list[Part]:
    there, here = books.theirs.get(key, Theirs()), books.ours.get(key, Ours())
    if key.day not in books.with_usage and not there.quantity:
        return _without_quantities(key, there, here)
    parts: list[Part] = []
    amount, quantity, rate = there.amount, there.quantity, books.our_rate(key)
    unpriced = min(here.quantity - here.priced, quantity)
    if unpriced > 0:
        share = amount if unpriced == quantity else exact(Fraction(amount) * unpriced / quantity)
        parts.append(Part(key, amounts.UNPRICED, share, unpriced))
        amount, quantity = amount - share, quantity - unpriced
    behind = rate_behind(amount, quantity, there.tolerance, rate)
    if rate is None:
        rate = behind if behind is not None else (Fraction(amount) / quantity if quantity else Fraction(0))
    difference = amount - exact(here.cost)
    if key.tier == PRIORITY and not there.lines:  # bought ahead: its tokens are in no report of costs
        return [*parts, Part(key, amounts.TIER, difference, quantity, detail={"to": PRIORITY})]
    more = quantity - here.priced
    if more:
        calls = books.calls.get(Group(*key[:3]), Calls())
        tokens = exact(more * rate)
        detail: dict[str, object] = {"estimated": calls.estimated, "our_rate": _usd_per_mtok(rate)}
        parts.append(Part(key, amounts.TOKENS, tokens, more, calls.estimated, detail))
        difference -= tokens
    if behind is not None and behind != rate:
        price = exact(quantity * (behind - rate))
        detail = {"their_rate": _usd_per_mtok(behind), "our_rate": _usd_per_mtok(rate)}
        parts.append(Part(key, amounts.PRICE, price, quantity, detail=detail))
        difference -= price
    return [*parts, *_rest(key, difference, there.tolerance)]


def _without_quantities(key: Key, there: Theirs, here: Ours) -> list[Part]:
    """A cell of costs alone: only what needs no quantity can be said."""
    difference = there.amount - exact(here.cost)
    if not here.quantity and there.amount > there.tolerance:
        return [Part(key, amounts.OUTSIDE, there.amount)]
    return _rest(key, difference, there.tolerance)


def _rest(key: Key, difference: Decimal, tolerance: Decimal) -> list[Part]:
    if not difference:
        return []
    return [Part(key, amounts.ROUNDING if abs(difference) <= tolerance else amounts.RESIDUAL, difference)]


def _round_up(books: Books, group: Group, calls: Calls) -> list[Part]:
    if group.day not in books.days or not calls.round_up:
        return []
    amount = -exact(calls.round_up)
    name = amounts.ROUNDING if abs(amount) <= calls.count * _NANOUSD_A_CALL else amounts.RESIDUAL
    return [Part(Key(*group, ""), name, amount, calls=calls.count)]


def by_name(parts: list[Part]) -> dict[str, Decimal]:
    """The sum of each name, in the order of `amounts.NAMES`."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for part in parts:
        sums[part.name] += part.amount
    return {name: sums[name] for name in amounts.NAMES if name in sums}


def _usd_per_mtok(rate: Fraction) -> str:
    """A rate as prices are printed: USD per million tokens."""
    text = f"{exact(rate * 1_000_000 / 1_000_000_000):f}"
    return text.rstrip("0").rstrip(".") or "0"
