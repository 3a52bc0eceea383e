"""The launch checklist's part past one machine: hosts that fit together, and the replica that figures are read from."""

from collections.abc import Iterator

from django.db import DatabaseError, connection, connections

from dashboards.reading import REPLICA
from llmobs.core.marks import differing
from llmobs.keeping.connecting import connect
from llmobs.ops.checklist import Item, State
from llmobs.ops.hosts import SILENT_SECONDS, Host, hosts

MOST_SKEW_MS = 2_000  # a window of a budget begins by the clock of the host that asks
LATE_MS = 60_000

_PRIMARY = "SELECT pg_current_wal_flush_lsn()::text, now(), (SELECT system_identifier FROM pg_control_system())"
_REPLICA = (
    "SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()), "
    "CASE WHEN pg_last_wal_replay_lsn() >= %s::pg_lsn THEN 0 "
    "ELSE extract(epoch FROM %s - pg_last_xact_replay_timestamp()) * 1000 END"
)


def past_one_machine() -> Iterator[Item]:
    """Rows for what is there: one host without a replica gets none."""
    with connect() as conn:
        found = hosts(conn)
    yield from _silent([host for host in found if host.is_silent])
    living = [host for host in found if not host.is_silent]
    if len(living) > 1:
        yield from _fitting(living)
    if REPLICA in connections:
        yield _replica()


def _silent(silent: list[Host]) -> Iterator[Item]:
    waiting = [host for host in silent if host.waiting_spans]
    if waiting:
        told = ", ".join(f"{host.name}: {host.waiting_spans} spans" for host in waiting[:5])
        how = f"silent for {SILENT_SECONDS} s and more ({told}): start them, or `manage.py hosts adopt` (docs/hosts.md)"
        yield Item("P1", State.MISSING, "hosts whose journals are written", how)


def _fitting(living: list[Host]) -> Iterator[Item]:
    marked = [host for host in living if host.marks]
    differ = sorted({name for host in marked[1:] for name in differing(marked[0].marks, host.marks)})
    names = ", ".join(host.name for host in living[:5])
    what = "the same secrets on every host"
    if differ:
        yield Item("P0", State.MISSING, what, f"{', '.join(differ)} differ: copy secrets.json (docs/hosts.md)")
    else:
        yield Item("P0", State.SET, what, names)
    off = [f"{host.name} {host.skew_ms:+} ms" for host in marked if abs(host.skew_ms) > MOST_SKEW_MS]
    told = f"{', '.join(off)} against PostgreSQL's: run NTP"
    yield Item("P1", State.MISSING if off else State.SET, "clocks that agree", told if off else f"{len(marked)} hosts")


def _replica() -> Item:
    """It answers, follows this primary, and is not far behind."""
    what = "a replica that figures are read from"
    with connection.cursor() as cursor:
        cursor.execute(_PRIMARY)
        place, now, system = cursor.fetchone()
    try:
        with connections[REPLICA].cursor() as cursor:
            cursor.execute(_REPLICA, [place, now])
            is_replica, theirs, late_ms = cursor.fetchone()
    except DatabaseError as error:
        return Item("P1", State.MISSING, what, f"READ_DATABASE_URL does not answer ({type(error).__name__})")
    if not is_replica or theirs != system:
        return Item("P1", State.MISSING, what, "READ_DATABASE_URL is no replica of DATABASE_URL: pages do not use it")
    if late_ms is None or late_ms > LATE_MS:
        told = "has followed nothing yet" if late_ms is None else f"is {late_ms / 1000:.0f} s behind"
        return Item("P1", State.MISSING, what, f"it {told}: pages say so; see to its disk and network")
    return Item("P1", State.SET, what, f"{max(late_ms, 0) / 1000:.1f} s behind")
