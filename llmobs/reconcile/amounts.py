"""Both sides of a comparison: a cell is a day × model × tier × class, an amount exact in nano-USD."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from llmobs.reconcile.rows import FINEST

# Names of parts. The rest of a cell, that no name explains, is RESIDUAL.
OUTSIDE = "outside"
NOT_MAPPED = "not_mapped"
CLASS = "class"
TIER = "tier"
TIME_ZONE = "time_zone"
UNPRICED = "unpriced"
TOKENS = "tokens"
PRICE = "price"
ROUNDING = "rounding"
NO_USAGE = "no_usage"
RESIDUAL = "residual"
NAMES = (OUTSIDE, NOT_MAPPED, PRICE, TOKENS, TIME_ZONE, CLASS, TIER, UNPRICED, NO_USAGE, ROUNDING, RESIDUAL)


class Key(NamedTuple):
    """Which cell. `token_class` "" is a bill as a whole: its own rounding."""

    day: date
    model: str
    tier: str
    token_class: str


class Group(NamedTuple):
    """A day's calls of a model at a tier: what is counted by call, not by token."""

    day: date
    model: str
    tier: str


class Hour(NamedTuple):
    """An hour of a day, UTC, of a model."""

    model: str
    day: date
    hour: int


Where = tuple[str, str]  # tier and class


@dataclass(slots=True)
class Theirs:
    """What the provider says of a cell. `by_key`: tokens by its keys; `lines`, `step`: how finely it was billed."""

    quantity: int = 0
    amount: Decimal = Decimal(0)
    lines: int = 0
    step: Decimal = Decimal(1)
    by_key: dict[str, int] = field(default_factory=dict)

    @property
    def tolerance(self) -> Decimal:
        """What the rounding of its lines can come to."""
        return self.step * max(1, self.lines)


@dataclass(slots=True)
class Ours:
    """What our bills say of a cell; `priced` of its quantity have a price, and cost `cost`."""

    quantity: int = 0
    priced: int = 0
    cost: Fraction = Fraction(0)

    def add(self, quantity: int, priced: int, cost: Fraction) -> None:
        self.quantity += quantity
        self.priced += priced
        self.cost += cost


@dataclass(slots=True)
class Calls:
    """Our calls of a group. `round_up`: what their bills are above the sum of their classes."""

    count: int = 0
    estimated: int = 0
    round_up: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of the difference (theirs − ours) of a cell, in nano-USD."""

    key: Key
    name: str
    amount: Decimal
    quantity: int = 0
    calls: int = 0
    detail: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Books:
    """Both sides of a period, and our rates. What is named is taken off `theirs` or moved within `ours`."""

    theirs: dict[Key, Theirs] = field(default_factory=lambda: defaultdict(Theirs))
    ours: dict[Key, Ours] = field(default_factory=lambda: defaultdict(Ours))
    hours: dict[Hour, dict[Where, Ours]] = field(default_factory=lambda: defaultdict(dict))  # ours again, by hour
    hour_calls: dict[Hour, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))  # by tier
    calls: dict[Group, Calls] = field(default_factory=lambda: defaultdict(Calls))
    their_calls: dict[Group, int] = field(default_factory=dict)  # where the report counts them
    their_calls_by_key: dict[Group, dict[str, int]] = field(default_factory=dict)
    rates: dict[Key, Fraction] = field(default_factory=dict)  # of our price version, nano-USD per token
    days: frozenset[date] = frozenset()  # that are compared
    with_usage: frozenset[date] = frozenset()  # of these, the ones whose quantities are known

    def cells(self) -> list[Key]:
        """All cells of the compared days, in order."""
        return sorted(key for key in {*self.theirs, *self.ours} if key.day in self.days)

    def groups(self) -> Iterator[tuple[Group, list[Key]]]:
        """Cells by day, model and tier."""
        found: dict[Group, list[Key]] = defaultdict(list)
        for key in self.cells():
            found[Group(*key[:3])].append(key)
        yield from sorted(found.items())

    def gap(self, key: Key) -> int:
        """Tokens that they have more than we."""
        there, here = self.theirs.get(key), self.ours.get(key)
        return (there.quantity if there else 0) - (here.quantity if here else 0)

    def our_rate(self, key: Key) -> Fraction | None:
        """What a token of this cell costs us, as billed, else as its price version says."""
        here = self.ours.get(key)
        if here is not None and here.priced:
            return here.cost / here.priced
        return self.rates.get(key)


def exact(amount: Fraction) -> Decimal:
    """As it is kept, to 10^-9 nano-USD."""
    return (Decimal(amount.numerator) / Decimal(amount.denominator)).quantize(FINEST)


def total(parts: Iterable[Part]) -> Decimal:
    return sum((part.amount for part in parts), Decimal(0))
