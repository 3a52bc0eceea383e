"""Applies and undoes a re-pricing, stretch by stretch, each in a transaction of its own.

 1. `plan` cuts the question into stretches: a tenant, part of a UTC day, some ten thousand bills. They are rows.
 2. `apply` and `undo` do what is not done yet, several at a time: adjustments, sums, spend and the stretch's mark
    commit together. Killed anywhere, the next run goes on from there; nothing is done twice.
 3. Bills that came meanwhile by the old price, into stretches that were done, are found and done again: what is right
    already stays. What comes after the end was priced by whoever priced it.
 4. The ledger learns every sum that changed, at the end and from a stretch on, by their versions.

Locks as a writer takes them: definitions of budgets (shared), then the tenant, shared among stretches and against its
writer, for two seconds at most; then rows in the order of their keys. Gateways do not notice.
"""

# ruff: noqa: S608 -- statements are put together of constants, values are bound

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Lock

from psycopg import errors, sql

from llmobs.budgets.definition import Budgets
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import current_budgets, fold_of, spent_row
from llmobs.core.ids import new_row_id
from llmobs.ingest import adjust
from llmobs.ingest.adjust import Connection, Stretch
from llmobs.ingest.adjust_write import write_adjustments, write_rollups, write_spend, write_traces
from llmobs.ingest.commit import share_tenant
from llmobs.ingest.repricing_reasons import applied, undone
from llmobs.pricing.book import PriceBook
from llmobs.pricing.price import Price
from llmobs.pricing.repricing import Question
from llmobs.pricing.versions import remember

BILLS_PER_STRETCH = 40_000  # two seconds' work: so long does a tenant's writer wait at most
SLOT = timedelta(minutes=5)
AT_ONCE = 2  # on two cores; a third costs each call a twentieth more
MOST_TRIES = 6
WORK_MEMORY = "64MB"

_IS_LIVE = "kind IN ('measured', 'estimated', 'abandoned')"
_LAST_ID = 2**63 - 1
_LOCK = 0x6C6C6D72  # "llmr": one run of a re-pricing at a time

Connect = Callable[[], Connection]
Send = Callable[[list[Fold]], None]


class NotNow(Exception):
    """The re-pricing is not in a state for this; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did: bills that changed, and by how much in all."""

    bills: int
    nanousd: int


# ---------------------------------------------------------------- the plan


def plan(conn: Connection, question: Question) -> list[Stretch]:
    """The question in stretches of at most so many bills (more only where five minutes have more)."""
    tenants = [question.tenant_id] if question.tenant_id is not None else _tenants(conn)
    rows = conn.execute(
        "SELECT tenant_id, date_bin(%s, begin_at, timestamptz '2000-01-01 00:00+00') AS slot, count(*) FROM bill "
        f"WHERE tenant_id = ANY(%s) AND begin_at >= %s AND begin_at < %s AND {_IS_LIVE} GROUP BY 1, 2 ORDER BY 1, 2",
        (SLOT, tenants, question.since, question.until),
    ).fetchall()
    found: list[Stretch] = []
    filled = 0
    for tenant_id, slot, bills in rows:
        last = found[-1] if found else None
        is_same = last is not None and last.tenant_id == tenant_id and last.since.date() == slot.date()
        until = min(slot + SLOT, question.until)
        if last is not None and is_same and filled + bills <= BILLS_PER_STRETCH:
            found[-1], filled = replace(last, until=until), filled + bills
        else:
            found.append(Stretch(tenant_id, max(slot, question.since), until))
            filled = bills
    return found


def _tenants(conn: Connection) -> list[int]:
    return [tenant_id for (tenant_id,) in conn.execute("SELECT id FROM tenants_tenant ORDER BY id")]


def keep_plan(conn: Connection, repricing_id: int, stretches: Iterable[Stretch]) -> None:
    """Write the stretches down. Those that are there already stay."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO repricing_chunk (repricing_id, tenant_id, since, until) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            [(repricing_id, s.tenant_id, s.since, s.until) for s in stretches],
        )


# ---------------------------------------------------------------- runs


def apply(
    connect: Connect, repricing_id: int, question: Question, book: PriceBook, send: Send, at_once: int = AT_ONCE
) -> Done:
    """Do, or go on with, a re-pricing that is in state `applying`. Raises NotNow where another run is at it."""
    with connect() as conn, _alone(conn, repricing_id):
        _expect(conn, repricing_id, "applying")
        if not _count(conn, repricing_id, "true"):
            with conn.transaction():
                keep_plan(conn, repricing_id, plan(conn, question))
        work = _Apply(repricing_id, question, book, adjust.providers_priced_as(conn))
        while stretches := _waiting(conn, repricing_id, "applied_at IS NULL", "applied_at"):
            _do(connect, work, stretches, at_once)
            _open_again(conn, repricing_id)
        _finish(conn, repricing_id, "applied", send)
        return _sums(conn, repricing_id)


def undo(connect: Connect, repricing_id: int, send: Send, at_once: int = AT_ONCE) -> Done:
    """Take back, or go on taking back, a re-pricing that is in state `undoing`. Raises NotNow."""
    with connect() as conn, _alone(conn, repricing_id):
        _expect(conn, repricing_id, "undoing")
        before = _sums(conn, repricing_id)
        which = "applied_at IS NOT NULL AND undone_at IS NULL"
        _do(connect, _Undo(repricing_id), _waiting(conn, repricing_id, which, "undone_at"), at_once)
        _finish(conn, repricing_id, "undone", send)
        return Done(before.bills, -before.nanousd)


class _alone:
    """One run of a re-pricing at a time; the lock goes with the connection, however it ends."""

    def __init__(self, conn: Connection, repricing_id: int) -> None:
        self._conn = conn
        self._key = (_LOCK, repricing_id & 0x7FFFFFFF)

    def __enter__(self) -> None:
        row = self._conn.execute("SELECT pg_try_advisory_lock(%s, %s)", self._key).fetchone()
        if not row or not row[0]:
            raise NotNow("it is being worked on by another process")

    def __exit__(self, *_: object) -> None:
        if not self._conn.broken:
            self._conn.execute("SELECT pg_advisory_unlock(%s, %s)", self._key)


def _expect(conn: Connection, repricing_id: int, state: str) -> None:
    row = conn.execute("SELECT state FROM repricing WHERE id = %s", (repricing_id,)).fetchone()
    if row is None or row[0] != state:
        raise NotNow(f"re-pricing {repricing_id} is {row[0] if row else 'not there'}, not {state}")


def _count(conn: Connection, repricing_id: int, which: str) -> int:
    query = sql.SQL("SELECT count(*) FROM repricing_chunk WHERE repricing_id = %s AND {}").format(sql.SQL(which))
    row = conn.execute(query, (repricing_id,)).fetchone()
    return int(row[0]) if row else 0


def _waiting(conn: Connection, repricing_id: int, which: str, mark: str) -> list[tuple[Stretch, str]]:
    query = sql.SQL(
        "SELECT tenant_id, since, until FROM repricing_chunk WHERE repricing_id = %s AND {} ORDER BY tenant_id, since"
    ).format(sql.SQL(which))
    return [(Stretch(*row), mark) for row in conn.execute(query, (repricing_id,))]


def _open_again(conn: Connection, repricing_id: int) -> None:
    """Open the stretches into which bills came after they were done.

    Row ids are made under the tenant's lock (or anew: `commit._was_repriced`), so a stretch's own rows lie between
    `seen` and `last_id` and nobody else's do: what came meanwhile is in the gaps, which the key of bills finds among
    millions of our adjustments.
    """
    conn.execute(
        "WITH gaps AS MATERIALIZED (SELECT tenant_id, low, high FROM (SELECT tenant_id, "
        "max(GREATEST(seen, last_id)) OVER earlier AS low, lead(seen, 1, %(last)s) OVER earlier AS high "
        "FROM repricing_chunk WHERE repricing_id = %(id)s AND applied_at IS NOT NULL "
        "WINDOW earlier AS (PARTITION BY tenant_id ORDER BY seen)) g WHERE low < high), "
        "came AS MATERIALIZED (SELECT b.* FROM gaps g CROSS JOIN LATERAL (SELECT tenant_id, bill_id, begin_at "
        "FROM bill i WHERE i.tenant_id = g.tenant_id AND i.bill_id > g.low AND i.bill_id < g.high "
        "AND i.begin_at >= (SELECT min(since) FROM repricing_chunk WHERE repricing_id = %(id)s) "
        "AND i.begin_at < (SELECT max(until) FROM repricing_chunk WHERE repricing_id = %(id)s) "
        f"AND i.{_IS_LIVE} OFFSET 0) b) "
        "UPDATE repricing_chunk c SET applied_at = NULL WHERE c.repricing_id = %(id)s AND EXISTS (SELECT 1 FROM came b "
        "WHERE b.tenant_id = c.tenant_id AND b.bill_id > c.seen AND b.begin_at >= c.since AND b.begin_at < c.until)",
        {"id": repricing_id, "last": _LAST_ID},
    )


def _sums(conn: Connection, repricing_id: int) -> Done:
    row = conn.execute(
        "SELECT COALESCE(sum(bills), 0)::bigint, COALESCE(sum(nanousd), 0)::bigint FROM repricing_chunk "
        "WHERE repricing_id = %s",
        (repricing_id,),
    ).fetchone()
    assert row is not None
    return Done(*row)


# ---------------------------------------------------------------- a stretch


@dataclass(slots=True)
class _Apply:
    """A stretch of a re-pricing."""

    repricing_id: int
    question: Question
    book: PriceBook
    priced_as: Mapping[str, str]

    @property
    def reason(self) -> str:
        return applied(self.repricing_id)

    def find(self, conn: Connection, stretch: Stretch) -> list[Price]:
        return adjust.find_changed(conn, stretch, self.question, self.book, self.priced_as)


@dataclass(slots=True)
class _Undo:
    """A stretch taken back."""

    repricing_id: int

    @property
    def reason(self) -> str:
        return undone(self.repricing_id)

    def find(self, conn: Connection, stretch: Stretch) -> list[Price]:
        adjust.find_to_undo(conn, stretch, self.repricing_id)
        return []  # the versions that it goes back to are kept


def _remember_used(conn: Connection, versions: set[str], prices: list[Price]) -> None:
    """Keep the rates behind the versions that the adjustments name, in an order that all runs share."""
    kept = {
        (version, provider, model)
        for version, provider, model in conn.execute(
            "SELECT version, provider, model FROM price_version WHERE version = ANY(%s)", (list(versions),)
        )
    }
    new = [p for p in prices if p.version in versions and (p.version, p.provider, p.model) not in kept]
    remember(conn, sorted(new, key=lambda p: (p.version, p.provider, p.model)))


class _Left:
    """What is to do, in as many parts as there are workers: each has days of its own, so that they seldom meet."""

    def __init__(self, waiting: list[tuple[Stretch, str]], parts: int) -> None:
        size = -(-len(waiting) // parts)
        self._parts = [deque(waiting[at * size : (at + 1) * size]) for at in range(parts)]
        self._lock = Lock()

    def take(self, part: int) -> tuple[Stretch, str] | None:
        """The next of a part; when it is done, the last of the part that has most."""
        with self._lock:
            if self._parts[part]:
                return self._parts[part].popleft()
            longest = max(self._parts, key=len)
            return longest.pop() if longest else None

    def clear(self) -> None:
        """Give nothing more."""
        with self._lock:
            for part in self._parts:
                part.clear()


def _do(connect: Connect, work: "_Apply | _Undo", waiting: list[tuple[Stretch, str]], at_once: int) -> None:
    left = _Left(waiting, at_once)
    with ThreadPoolExecutor(at_once) as pool:
        for future in [pool.submit(_worker, connect, work, left, part) for part in range(at_once)]:
            future.result()


def _worker(connect: Connect, work: "_Apply | _Undo", left: _Left, part: int) -> None:
    with connect() as conn:
        for name in ("work_mem", "temp_buffers"):  # a stretch's tables stay in memory
            conn.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(WORK_MEMORY)))
        # A stretch that a crash takes back is done again; `_finish` waits for the disk before anybody is told.
        conn.execute("SET synchronous_commit = off")
        # Statistics of our own tables tell how many rows they have, no more: a hundredth of the time.
        conn.execute("SET default_statistics_target = 1")
        budgets = Budgets(version=-1)
        while taken := left.take(part):
            try:
                budgets = _try(conn, work, *taken, budgets)
            except BaseException:
                left.clear()  # the others stop too; what is done is done
                raise


def _try(conn: Connection, work: "_Apply | _Undo", stretch: Stretch, mark: str, budgets: Budgets) -> Budgets:
    for attempt in range(1, MOST_TRIES + 1):
        try:
            with conn.transaction():
                return _one(conn, work, stretch, mark, budgets)
        except (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == MOST_TRIES:
                raise
    raise AssertionError("unreachable")


def _one(conn: Connection, work: "_Apply | _Undo", stretch: Stretch, mark: str, budgets: Budgets) -> Budgets:
    """One stretch in one transaction, the caller's; answers the budgets as they were then."""
    budgets = current_budgets(conn, budgets)
    share_tenant(conn, stretch.tenant_id)
    last_id = seen = new_row_id()
    prices = work.find(conn, stretch)
    changed = _changed(conn)
    if changed.bills:
        _remember_used(conn, changed.versions, prices)
        last_id = write_adjustments(conn, work.reason, changed.bills, changed.gains > 0)
        write_traces(conn, stretch)
        write_rollups(conn, stretch)
        write_spend(conn, stretch, budgets)
    bills, nanousd = (changed.bills, changed.nanousd) if mark == "applied_at" else (0, 0)
    done = conn.execute(
        sql.SQL(
            "UPDATE repricing_chunk SET {mark} = now(), seen = %s, last_id = %s, bills = bills + %s, "
            "nanousd = nanousd + %s WHERE repricing_id = %s AND tenant_id = %s AND since = %s AND {mark} IS NULL"
        ).format(mark=sql.Identifier(mark)),
        (seen, last_id, bills, nanousd, work.repricing_id, stretch.tenant_id, stretch.since),
    )
    if done.rowcount != 1:
        raise NotNow("another process has done this stretch meanwhile")
    return budgets


@dataclass(frozen=True, slots=True)
class _Changed:
    """What the table `changed` comes to. `gains`: how many get their first price, or lose it."""

    bills: int
    nanousd: int
    gains: int
    versions: set[str]


def _changed(conn: Connection) -> _Changed:
    rows = conn.execute(
        "SELECT version_then, count(*), sum(new - old)::bigint, count(*) FILTER (WHERE gains <> 0) FROM changed "
        "GROUP BY 1"
    ).fetchall()
    bills, nanousd, gains = (sum(row[at] for row in rows) for at in (1, 2, 3))
    return _Changed(bills, nanousd, gains, {row[0] for row in rows})


# ---------------------------------------------------------------- the end


def _finish(conn: Connection, repricing_id: int, state: str, send: Send) -> None:
    """The ledger first: a run that is killed before the mark sends again, which does no harm."""
    conn.execute("UPDATE repricing SET error = '' WHERE id = %s", (repricing_id,))  # all before it is on the disk, too
    send(folds_since(conn, repricing_id))
    mark = "undone_at" if state == "undone" else "applied_at"
    conn.execute(
        sql.SQL("UPDATE repricing SET state = %s, {} = now(), error = '' WHERE id = %s").format(sql.Identifier(mark)),
        (state, repricing_id),
    )


def folds_since(conn: Connection, repricing_id: int) -> list[Fold]:
    """What the ledger must learn: the sums of its tenants that have changed since the re-pricing was made."""
    rows = conn.execute(
        "SELECT tenant_id, budget_id, revision, value, window_start, spent, version FROM budget_spend "
        "WHERE updated_at >= (SELECT created_at FROM repricing WHERE id = %(id)s) "
        "AND tenant_id IN (SELECT tenant_id FROM repricing_chunk WHERE repricing_id = %(id)s)",
        {"id": repricing_id},
    ).fetchall()
    return [fold_of(spent_row(row)) for row in rows]
