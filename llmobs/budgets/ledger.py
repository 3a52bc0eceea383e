"""The ledger in Valkey: what each budget has spent and holds, changed by scripts that run whole.

This module knows keys, arguments and replies and does no I/O. The steps of a call:

1. `reserve` takes the upper bound of a call's cost on every budget that applies, or on none.
2. The gateway appends Begin to its journal, sends, appends End.
3. `settle` replaces the hold by the actual cost, as pending; `release` gives a hold back where nothing was charged.
4. The writer commits bills and `budget_spend` with its version, then `fold` sets the base and drops the attempts.

A rolling window is kept by its days: a hash per day, and an attempt holds in its own day's alone. `reserve` and whoever
asks how it stands add all its days up, so that a day leaves the window by itself (`budgets/window.py`).

One hash per budget, revision, window and value: `base` and its `version`, the sums `pending` and `held`, and a field
per live attempt, `h<amount>:<begin_s>:<owner>` while it is held and `p…` once it is settled. `ledger:epoch` is
"open E", "closed E" or "wiping E" with E = `<nonce>:<run_id of the server>`. `reserve` and `status` ask for "open";
the rest work on a closed ledger too, since that is how it is filled. Any other epoch answers EPOCH.

What may meet, and what comes of it. The invariant: base + pending + held counts every attempt at least once, and
exactly once when all is folded; so no grant ever passes a limit, and what errs, errs to the careful side.

- *Reserve repeated* (its reply was lost): the attempt is there, nothing more is taken, the answer is a grant.
- *Reserve overtaken by its own release or fold*: would leave a hold that nobody ends. A gateway keeps all commands of
  an attempt on one connection, which keeps their order, and on reconnecting kills its old connection by id
  (`kill_connection`) before it sends anything, so that nothing of the past arrives later.
- *Settle after fold* (the writer was faster): no field, nothing changes. *Settle before fold*: the usual case.
- *Settle twice*: the field says `p`, nothing changes.
- *Settle with more than was held*: booked in full. It may pass the limit, which stops the calls that follow; no
  script can refuse what a provider has charged.
- *Folds out of order*: the newest base wins; it holds all that older ones do, for versions grow under the row's lock.
  The older fold's attempts stay pending until it comes: over-counted for a moment.
- *Fold repeated, or of an attempt never seen* (reserved under another epoch, reported by OTLP): nothing to drop.
- *Fold lost* (the writer died between commit and fold): the attempt stays, counted twice if another fold brings the
  base. So a writer that starts brings the bases and drops the attempts that have a bill in one step per key
  (`recovery.join`); `sweep.drop_billed` does so now and then.
- *Hand-in repeated, or by gateway and writer both*: the field is there; held becomes pending, never the reverse.
- *Hand-in after the fold of the same attempt*: prevented by order (a gateway hands in only what has no End yet and
  acknowledges; the writer reads the journals after that, from the offset of the snapshot whose bases it loaded), and
  mended by `drop_billed`.
- *A new epoch in the middle*: scripts of the old one answer EPOCH and change nothing. A reserve granted under the
  old epoch must not be used after the gateway has joined the new one (`Attempts.granted`).
- *A key that is not there*: nothing was spent in it, but only if the budget was counted and its sums were brought
  here: `ledger:{tenant}:counted` names such budgets, else `reserve` answers UNCOUNTED. Of a rolling window that is
  asked even where today's key is there, for it says nothing of the other days'.
- *Clocks that differ around midnight*: a gateway that is late also counts what others already hold in the next day, so
  no span of N days passes the limit, whichever clock began it.
- *An owner that dies*: what its journal began is billed by the writer and folded; what remains of it once the
  journal is read to its end never was sent: `sweep.release_owner`.

The scripts themselves are in `budgets/scripts.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from llmobs.budgets.scripts import FOLD, HAND_IN, RELEASE, RESERVE, SETTLE, STATUS, SWEEP, TURN, Script
from llmobs.spans.bill import HoldLike

EPOCH_KEY = "ledger:epoch"
PREFIX = "ledger:"
OPEN, CLOSED, WIPING = "open", "closed", "wiping"

HELD, PENDING = "h", "p"

# First integer of a script's reply.
REFUSED, DONE, EPOCH, UNCOUNTED = 0, 1, -1, -2

# No field of an attempt is named like these: attempts are 16 hexadecimal digits.
SUMS = frozenset({"base", "version", "pending", "held"})


def budget_key(tenant_id: int, budget_id: int, revision: int, window_start_s: int, value: str) -> str:
    """Key of one budget, window and value; the tenant is the hash tag, so one call's keys share a slot."""
    return f"ledger:{{{tenant_id}}}:{budget_id}:{revision}:{window_start_s}:{value}"


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a ledger key says."""

    tenant_id: int
    budget_id: int
    revision: int
    window_start_s: int
    value: str


def key_parts(key: str) -> KeyParts | None:
    """The parts of a budget's key; None for the ledger's other keys."""
    parts = key.split(":", 5)
    if len(parts) != 6 or not parts[1].startswith("{"):
        return None
    return KeyParts(int(parts[1][1:-1]), int(parts[2]), int(parts[3]), int(parts[4]), parts[5])


def counted_key(tenant_id: int) -> str:
    """Set of the tenant's budgets ("id:revision") whose sums the ledger has."""
    return f"ledger:{{{tenant_id}}}:counted"


def owner_key(owner: str) -> str:
    """Where an owner of attempts acknowledges an epoch."""
    return f"ledger:owner:{owner}"


# ---------------------------------------------------------------- arguments


class Command:
    """A script with its keys and arguments, ready to be sent by any client. `packed`: as it goes out, where that is
    made already.
    """

    __slots__ = ("args", "keys", "script")
    packed: bytes | None = None

    def __init__(self, script: Script, keys: Sequence[str], args: Sequence[str]) -> None:
        self.script = script
        self.keys = keys
        self.args = args

    def evalsha(self) -> list[str]:
        """The words of EVALSHA. On NOSCRIPT (a new server) send `eval` once; the server keeps the script."""
        keys = self.keys
        return ["EVALSHA", self.script.sha, str(len(keys)), *keys, *self.args]

    def eval(self) -> list[str]:
        return ["EVAL", self.script.text, str(len(self.keys)), *self.keys, *self.args]


class BudgetLike(Protocol):
    """What a reserve must know of a budget (`definition.BudgetInfo`)."""

    @property
    def id(self) -> int: ...
    @property
    def tenant_id(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def is_blocking(self) -> bool: ...


class AppliedLike(Protocol):
    """A budget as it applies to a call (`definition.Applied`)."""

    @property
    def budget(self) -> BudgetLike: ...
    @property
    def key(self) -> str: ...
    @property
    def words(self) -> tuple[str, str, str]: ...
    @property
    def days(self) -> tuple[str, ...]: ...


def hold_key(tenant_id: int, hold: HoldLike) -> str:
    """The ledger key that a journalled hold is on."""
    return budget_key(tenant_id, hold.budget_id, hold.revision, hold.window_start_s, hold.value)


# More than any limit, and still exact in a script: an amount beyond is cut to it, so a blocking budget refuses it.
MOST_AMOUNT = 2**53


def _digits(amount: int) -> str:
    """An amount as the scripts take it: never negative, never past what they can add."""
    return str(min(max(amount, 0), MOST_AMOUNT))


def tail(begin_s: int, owner: str) -> str:
    """What every hold of an attempt carries beside its amount."""
    return f":{begin_s}:{owner}"


class Front(msgspec.Struct, frozen=True):
    """Sections that are asked ahead of the budgets, in one script with them."""

    script: Script
    keys: list[str]
    args: list[str]
    again: Script | None = None  # where the attempt has asked before; it is told of whom, and seconds since then


def reserve(
    epoch: str,
    attempt: str,
    begin_s: int,
    owner: str,
    asked: Sequence[tuple[AppliedLike, int]],
    front: Front | None = None,
    asked_before_s: float | None = None,
) -> Command:
    """Hold each amount on its budget: all of them, or none. `attempt` is 16 hexadecimal digits; all of one tenant.

    `asked_before_s`: seconds since it asked the same; None: it has not.
    """
    keys, args = (list(front.keys), list(front.args)) if front is not None else ([], [])
    keys += (EPOCH_KEY, counted_key(asked[0][0].budget.tenant_id))
    args += (str(len(asked)), epoch, attempt, tail(begin_s, owner))
    days: list[str] = []
    for applied, amount in asked:
        keys.append(applied.key)
        args += applied.words
        args.append(str(amount) if 0 <= amount <= MOST_AMOUNT else _digits(amount))
        if applied.days:
            days += applied.days
    keys += days
    if front is None:
        return Command(RESERVE, keys, args)
    if asked_before_s is None or front.again is None:
        return Command(front.script, keys, args)
    return Command(front.again, [*keys, asked[0][0].key], [*args, attempt, str(int(asked_before_s))])


def settle(epoch: str, attempt: str, actuals: Iterable[tuple[str, int]]) -> Command:
    """Replace an attempt's holds by what it cost: (ledger key, amount in the budget's unit)."""
    keys, args = [EPOCH_KEY], [epoch, attempt]
    for key, amount in actuals:
        keys.append(key)
        args.append(_digits(amount))
    return Command(SETTLE, keys, args)


def release(epoch: str, attempt: str, keys: Iterable[str]) -> Command:
    """Give an attempt's holds back: nothing was charged."""
    return Command(RELEASE, [EPOCH_KEY, *keys], [epoch, attempt])


def hand_in(
    epoch: str, attempt: str, state: str, begin_s: int, owner: str, holds: Iterable[tuple[str, int]]
) -> Command:
    """Bring an attempt into a new ledger: HELD with its holds, or PENDING with what it cost."""
    keys, args = [EPOCH_KEY], [epoch, attempt, state, tail(begin_s, owner)]
    for key, amount in holds:
        keys.append(key)
        args.append(_digits(amount))
    return Command(HAND_IN, keys, args)


@dataclass(frozen=True, slots=True)
class Fold:
    """What the ledger must learn of a commit: a base with its version, and attempts that are in it now.

    `base` None drops attempts only. `announces`: with this fold all sums of the budget are there.
    """

    tenant_id: int
    budget_id: int
    revision: int
    window_start_s: int
    value: str
    base: int | None
    version: int
    attempts: tuple[str, ...] = ()
    announces: bool = False

    @property
    def key(self) -> str:
        return budget_key(self.tenant_id, self.budget_id, self.revision, self.window_start_s, self.value)


def fold(epoch: str, change: Fold, in_order: bool = False) -> Command:
    """Fold a commit into the ledger, those of one in their order; `in_order`: after all of the key before it."""
    member = f"{change.budget_id}:{change.revision}" if change.announces else ""
    base = "" if change.base is None else str(change.base)
    return Command(
        FOLD,
        [EPOCH_KEY, counted_key(change.tenant_id), change.key],
        [epoch, base, str(change.version), member, "1" if in_order else "", *change.attempts],
    )


def status(keys: Sequence[str]) -> Command:
    """Ask what stands under these keys, all of one tenant, at one moment."""
    return Command(STATUS, [EPOCH_KEY, *keys], [])


def turn(was: str, becomes: str) -> Command:
    """Change the epoch's state if it still is `was`."""
    return Command(TURN, [EPOCH_KEY], [was, becomes])


def sweep(epoch: str, key: str) -> Command:
    """Delete a key whose window is long over, unless an attempt lives in it."""
    return Command(SWEEP, [EPOCH_KEY, key], [epoch])


def kill_connection(client_id: int) -> list[str]:
    """The words that make the server forget a lost connection, with all it may still have to read from it."""
    return ["CLIENT", "KILL", "ID", str(client_id)]


# ---------------------------------------------------------------- replies


class Granted(msgspec.Struct, frozen=True):
    """All holds are taken. `left`: limit less everything, per budget asked, in its unit (negative: alerts only).

    `ahead`: what the sections before the budgets replied.
    """

    left: tuple[int, ...]
    ahead: tuple[Any, ...] = ()


class Exhausted(msgspec.Struct, frozen=True):
    """The budget at `index` of those asked would be passed; nothing is held."""

    index: int
    base: int
    pending: int
    held: int

    @property
    def spent(self) -> int:
        return self.base + self.pending


class Unavailable(msgspec.Struct, frozen=True):
    """The ledger cannot answer: it recovers (`epoch` is its word for it, "" if lost), or has not counted a budget."""

    epoch: str
    uncounted_index: int | None = None


class Ahead(msgspec.Struct, frozen=True):
    """A section ahead of the budgets has answered (a limit is reached, an answer is cached): nothing is held."""

    reply: Sequence[Any]


def parse_reserve(reply: Sequence[Any], budgets: int) -> Granted | Exhausted | Unavailable | Ahead:
    """What a reserve of so many budgets came to."""
    if reply[0] == DONE:
        return Granted(tuple(reply[-budgets:]), tuple(reply[1:-budgets]))
    if reply[0] == REFUSED and text(reply[1]) == "b":
        return Exhausted(reply[2], reply[3], reply[4], reply[5])
    if reply[0] == UNCOUNTED:
        return Unavailable("", reply[1])
    if reply[0] == EPOCH:
        return Unavailable(text(reply[1]))
    return Ahead(reply)


def parse_change(reply: Sequence[Any]) -> int | Unavailable:
    """How many fields a settle, release, fold or hand-in changed; Unavailable on another epoch."""
    return int(reply[1]) if reply[0] == DONE else Unavailable(text(reply[1]))


@dataclass(frozen=True, slots=True)
class Standing:
    """What one key of the ledger says, at one moment."""

    base: int
    version: int
    pending: int
    held: int
    attempts: int


def parse_status(reply: Sequence[Any]) -> list[Standing] | Unavailable:
    """One standing per key asked."""
    if reply[0] != DONE:
        return Unavailable(text(reply[1]))
    return [Standing(*reply[index : index + 5]) for index in range(1, len(reply), 5)]


@dataclass(frozen=True, slots=True)
class Live:
    """An attempt as it stands in the ledger."""

    attempt: str
    state: str
    amount: int
    begin_s: int
    owner: str


def parse_live(fields: dict[Any, Any]) -> list[Live]:
    """The attempts among a key's fields (HGETALL)."""
    found = []
    for name, cell in fields.items():
        if text(name) not in SUMS:
            head, begin_s, owner = text(cell).split(":", 2)
            found.append(Live(text(name), head[0], int(head[1:]), int(begin_s), owner))
    return found


def text(word: bytes | str | None) -> str:
    """A reply's word as text, whichever way the client decodes."""
    if word is None:
        return ""
    return word.decode() if isinstance(word, bytes) else word
