"""The packed commands say what the ones made of words say."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hiredis
import pytest
from msgspec.structs import replace

from gateway.forms import Forms, Usual
from gateway.front import front
from gateway.rates import SETTLE, Asking
from gateway.settling import both_settled
from llmobs.budgets import ledger
from llmobs.budgets.definition import Applied, BudgetInfo, apply
from llmobs.budgets.ledger import Command
from llmobs.cache.store import NOTHING_ASKED as NO_CACHE
from llmobs.limits import admission
from llmobs.limits.admission import NOTHING_ASKED, Taken
from llmobs.limits.definition import AppliedLimit, Limits
from llmobs.limits.units import CONCURRENT, DAY, MINUTE, REQUESTS, TOKENS
from llmobs.tenants.attribution import Attribution
from tests.limits.made import info

EPOCH, ATTEMPT, OWNER, BEGIN_S = "0123456789abcdef:run", "00f1e2d3c4b5a697", "gateway-1", 1_790_000_000
EXAMPLES: list[list[Any]] = [[], [REQUESTS], [TOKENS], [REQUESTS, TOKENS, CONCURRENT], [TOKENS, TOKENS]]


def words(packed: bytes) -> list[str]:
    reader = hiredis.Reader()
    reader.feed(packed)
    return [word.decode() for word in reader.gets()]


def limits_of(units: list[str]) -> tuple[AppliedLimit, ...]:
    infos = [
        info(id=number, unit=unit, per="" if unit == CONCURRENT else (MINUTE, DAY)[number % 2], limit=100 + number)
        for number, unit in enumerate(units, 1)
    ]
    return Limits(infos).applying(7, Attribution(key_id=3), "m", "p", "192.0.2.1")


def budgets_of(names: tuple[str, ...]) -> tuple[Applied, ...]:
    made = BudgetInfo(
        id=1, tenant_id=7, name="b", unit="usd", limit=10**12, window="day", scope=(), action="block", thresholds=(),
        revision=2, zone="UTC", counted_from_s=0,
    )  # fmt: skip
    return tuple(apply(replace(made, id=n), name, 86_400 * n, 86_400 * (n + 1)) for n, name in enumerate(names, 1))


@dataclass
class Case:
    limits: tuple[AppliedLimit, ...]
    budgets: tuple[Applied, ...]

    @property
    def asking(self) -> Asking:
        asked = [(applied, 1 if applied.limit.unit == REQUESTS else 12_345) for applied in self.limits]
        asking = Asking(self.limits, asked, "gateway-1:ab", 0)
        asking.taken = Taken(BEGIN_S, (1,) * len(asked), (1,) * len(asked))
        return asking

    @property
    def usual(self) -> Usual:
        return Forms().usual(self.limits, self.budgets, EPOCH)


def cases() -> Iterator[Case]:
    for units in EXAMPLES:
        for names in (("",), ("100 % of it", "übrig")):
            yield Case(limits_of(units), budgets_of(names))


@pytest.mark.parametrize("case", list(cases()))
def test_an_admission(case: Case) -> None:
    amounts = [0, 2**60][: len(case.budgets)]
    filled = case.usual.admission(case.asking, ATTEMPT, BEGIN_S, OWNER, amounts)
    limited = case.asking.words() if case.limits else NOTHING_ASKED
    held = list(zip(case.budgets, amounts, strict=True))
    command = ledger.reserve(EPOCH, ATTEMPT, BEGIN_S, OWNER, held, front(NO_CACHE, limited))
    assert words(filled.packed) == command.evalsha()
    assert filled.eval() == command.eval()


@pytest.mark.parametrize("case", list(cases()))
def test_a_settlement(case: Case) -> None:
    actuals, changes = [7, 10**15][: len(case.budgets)], [0 if x.limit.unit != TOKENS else -345 for x in case.limits]
    filled = case.usual.settlement(case.asking, ATTEMPT, actuals, BEGIN_S, changes)
    held = ledger.settle(EPOCH, ATTEMPT, [(a.key, n) for a, n in zip(case.budgets, actuals, strict=True)])
    keys, args = admission.settle(BEGIN_S, zip(case.limits, changes, strict=True), case.asking.member)
    command = both_settled(held, Command(SETTLE, keys, args)) if keys else held
    assert words(filled.packed) == command.evalsha()
    assert filled.eval() == command.eval()


def test_forms_are_kept_for_the_same_limits_and_budgets_and_made_anew_for_others() -> None:
    forms, limits, budgets = Forms(), limits_of([TOKENS]), budgets_of(("",))
    usual = forms.usual(limits, budgets, EPOCH)
    assert forms.usual(limits, budgets, EPOCH) is usual
    assert forms.usual(limits, budgets, "another") is not usual
    assert forms.usual(limits, budgets_of(("",)), EPOCH) is not usual
