"""A call's two usual commands to Valkey, its admission and its settlement, with their unchanging words packed once for
the limits and budgets that apply: what differs from call to call is put in between.

They say what `front`, `ledger.reserve` and `settling` say, word for word; whatever is not usual (an answer looked for
in the cache, a second attempt, another epoch) goes that way.
"""

from collections.abc import Sequence

from gateway.front import ADMIT
from gateway.rates import Asking
from gateway.settling import SETTLE as SETTLE_BOTH
from llmobs.budgets.definition import Applied
from llmobs.budgets.ledger import EPOCH_KEY, MOST_AMOUNT, Command, counted_key, tail
from llmobs.budgets.scripts import SETTLE, Script
from llmobs.cache.store import NOTHING_ASKED as NO_CACHE
from llmobs.limits.admission import LEASE_SECONDS
from llmobs.limits.definition import AppliedLimit
from llmobs.limits.units import CONCURRENT, MOST, REQUESTS, STEPS, TOKENS

MOST_KEPT = 4_096  # combinations of limits and budgets; then they are packed anew

OPEN = None  # a word that is put in later


class Form:
    """A script's command, some of whose arguments are open."""

    __slots__ = ("_template", "args", "keys", "script")

    def __init__(self, script: Script, keys: Sequence[str], args: Sequence[str | None]) -> None:
        self.script = script
        self.keys = keys
        self.args = args
        words = ["EVALSHA", script.sha, str(len(keys)), *keys, *args]
        self._template = b"*%d\r\n" % len(words) + b"".join(map(_bulk, words))

    def filled(self, values: list[int | bytes]) -> "Filled":
        """The command with its open words: of each its length, then itself."""
        return Filled(self, values, self._template % tuple(values))


def _bulk(word: str | None) -> bytes:
    if word is OPEN:
        return b"$%d\r\n%b\r\n"
    data = word.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data.replace(b"%", b"%%"))


class Filled(Command):
    """A form with its values; `packed` is what goes out."""

    __slots__ = ("_form", "_values", "packed")
    packed: bytes

    def __init__(self, form: Form, values: list[int | bytes], packed: bytes) -> None:
        self._form = form
        self._values = values
        self.packed = packed

    def eval(self) -> list[str]:
        form, values = self._form, iter(self._values[1::2])
        args = [str(next(values), "utf-8") if word is OPEN else word for word in form.args]  # type: ignore[arg-type]
        return Command(form.script, form.keys, args).eval()


class Usual:
    """The forms for these limits and budgets under this epoch."""

    __slots__ = ("_admission", "_settled", "_settlement", "budgets", "epoch", "limits")

    def __init__(self, limits: tuple[AppliedLimit, ...], budgets: tuple[Applied, ...], epoch: str) -> None:
        self.limits = limits
        self.budgets = budgets
        self.epoch = epoch
        # Of requests nothing is settled once one was sent.
        self._settled = [applied for applied in limits if applied.limit.unit != REQUESTS]
        self._admission = self._admitting()
        self._settlement = self._settling()

    def _admitting(self) -> Form:
        keys = [*NO_CACHE[0], *(applied.key for applied in self.limits)]
        args: list[str | None] = [*NO_CACHE[1], str(len(self.limits))]
        for applied in self.limits:
            args += (*applied.head, "1" if applied.limit.unit == REQUESTS else OPEN)
        budgets = self.budgets
        keys += (EPOCH_KEY, counted_key(budgets[0].budget.tenant_id), *(each.key for each in budgets))
        args += (str(len(budgets)), self.epoch, OPEN, OPEN)
        for each in budgets:
            args += (*each.words, OPEN)
        keys += [day for each in budgets for day in each.days]
        return Form(ADMIT, keys, args)

    def _settling(self) -> Form:
        keys = [EPOCH_KEY, *(each.key for each in self.budgets)]
        args: list[str | None] = [self.epoch, OPEN, *(OPEN for _ in self.budgets)]
        if not self._settled:
            return Form(SETTLE, keys, args)
        args = [str(len(keys)), str(len(args)), *args]
        for applied in self._settled:
            args += ("", OPEN) if applied.limit.unit == CONCURRENT else (OPEN, OPEN)
        return Form(SETTLE_BOTH, [*keys, *(applied.key for applied in self._settled)], args)

    def admission(
        self, asking: Asking | None, attempt: str, begin_s: int, owner: str, amounts: Sequence[int]
    ) -> Filled:
        """Take of the limits and hold these amounts on the budgets: all, or nothing."""
        values: list[int | bytes] = []
        if asking is not None:
            for applied, amount in asking.asked:
                unit = applied.limit.unit
                if unit == TOKENS:
                    word = b"%d" % (amount if 0 <= amount <= MOST else min(max(amount, 0), MOST))
                elif unit == CONCURRENT:
                    word = f"{LEASE_SECONDS}:{asking.member}".encode()
                else:
                    continue
                values += (len(word), word)
        whose = tail(begin_s, owner).encode()
        values += (len(attempt), attempt.encode(), len(whose), whose)
        _append(values, amounts)
        return self._admission.filled(values)

    def settlement(
        self, asking: Asking | None, attempt: str, actuals: Sequence[int], taken_at_s: int, changes: Sequence[int]
    ) -> Filled:
        """The holds become what the attempt cost; the limits change by what it used more or less (one for each)."""
        values: list[int | bytes] = [len(attempt), attempt.encode()]
        _append(values, actuals)
        if self._settled and asking is not None:
            for applied, change in zip(self.limits, changes, strict=True):
                unit = applied.limit.unit
                if unit == TOKENS:
                    step, word = b"%d" % (taken_at_s // STEPS[applied.limit.per][0]), b"%d" % change
                    values += (len(step), step, len(word), word)
                elif unit == CONCURRENT:
                    word = asking.member.encode()
                    values += (len(word), word)
        return self._settlement.filled(values)


def _append(values: list[int | bytes], amounts: Sequence[int]) -> None:
    for amount in amounts:
        word = b"%d" % (amount if 0 <= amount <= MOST_AMOUNT else min(max(amount, 0), MOST_AMOUNT))
        values += (len(word), word)


class Forms:
    """Those of this process. Not safe for several threads."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Usual] = {}

    def usual(self, limits: tuple[AppliedLimit, ...], budgets: tuple[Applied, ...], epoch: str) -> Usual:
        """The forms for these. Both tuples are remembered ones: they are compared by identity."""
        found = self._kept.get((id(limits), id(budgets)))
        if found is not None and found.limits is limits and found.budgets is budgets and found.epoch == epoch:
            return found
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        made = self._kept[id(limits), id(budgets)] = Usual(limits, budgets, epoch)
        return made
