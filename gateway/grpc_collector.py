"""`python -m gateway.grpc_collector --owner NAME`: the process that answers OTLP/gRPC, an owner of its own journal.

Apart from the gateway, whose calls would share an event loop and a heap with gRPC's. It follows the roster alone: it
is no gateway, holds nothing, and says so by having no heartbeat. Its counts are at /metrics of `--state-port`.
"""

import argparse
import asyncio
import logging
import secrets
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from gateway.counts import OtlpCounts
from gateway.grpc_door import GrpcDoor, server
from gateway.snapshot import PATIENCE, POLL_SECONDS, SnapshotFile
from gateway.state import State
from llmobs.core.env import EnvError, Place, read_str
from llmobs.ingest import plain_log
from llmobs.ingest.journal import JournalError, JournalWriter
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version
from llmobs.tenants.roster import Roster

GRACE_SECONDS = 10  # for requests under way, when asked to stop
TELL_SECONDS = 60.0  # how often the log says what was taken in

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Known:
    """Who may send, as of one version of the configuration."""

    roster: Roster


class RosterKeeper:
    """Follows the roster on a thread of its own. With PostgreSQL away the last one holds, or the gateway's snapshot."""

    def __init__(self, database_url: str, file: SnapshotFile) -> None:
        self.known: Known | None = None
        self._database_url = database_url
        self._file = file
        self._version = -1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="roster", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._database_url, autocommit=True, **PATIENCE) as conn:
                    while not self._stopping.wait(POLL_SECONDS if self._version >= 0 else 0):
                        self._look(conn)
            except psycopg.Error as error:
                log.warning("PostgreSQL is away: the last roster holds", error=type(error).__name__)
            except Exception:  # the thread's outermost loop: what cannot be read now may be later
                log.exception("the roster cannot be read: the last one holds")
            if self.known is None:
                self._use_file()
            self._stopping.wait(POLL_SECONDS)

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        version = config_version(conn)  # read first: what changes meanwhile is loaded again
        if version != self._version:
            self.known, self._version = Known(roster.load(conn)), version

    def _use_file(self) -> None:
        stored = self._file.read()
        if stored is not None:
            self.known = Known(Roster(stored.tenants, stored.keys))


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens; `state`: the socket of /healthz, /readyz and /metrics, if they are asked for."""

    host: str
    port: int
    state: socket.socket | None = None


async def serve(
    address: Address, journal: JournalWriter, keeper: RosterKeeper, platform_secret: str, stopping: asyncio.Event
) -> None:
    """Answer until told to stop."""
    host, port = address.host, address.port
    door = GrpcDoor(journal, lambda: keeper.known, platform_secret, time.time_ns)
    grpc_server = server(door)
    bound = grpc_server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    await grpc_server.start()
    log.info("OTLP/gRPC is answered", host=host, port=bound)
    teller = asyncio.create_task(_tell(door.counts))
    state = State(lambda: "" if keeper.known is not None else "no roster of keys yet", door.counts.text)
    told = await state.tell(address.state) if address.state is not None else None
    try:
        await stopping.wait()
        await grpc_server.stop(GRACE_SECONDS)
    finally:
        teller.cancel()
        if told is not None:
            told.close()
        log.info("taken in", **_told(door.counts))


async def _tell(counts: OtlpCounts) -> None:
    told = _told(counts)
    while True:
        await asyncio.sleep(TELL_SECONDS)
        if told != _told(counts):
            told = _told(counts)
            log.info("taken in", **told)


def _told(counts: OtlpCounts) -> dict[str, int]:
    """What the log says; all of it is at /metrics."""
    return {
        "spans": counts.spans_received,
        "rejected": counts.spans_rejected,
        "log_records": counts.log_records["kept"],
        "dropped": counts.dropped.total(),
        "refused": counts.otlp_refused.total(),
    }


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m gateway.grpc_collector", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4317)
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--state-port", type=int, help="of /healthz, /readyz and /metrics (default: not answered)")
    state.add_argument("--state-fd", type=int, help="a listening socket for them, inherited from the supervisor")
    parser.add_argument("--owner", default=f"otlp-grpc-{secrets.token_hex(6)}", help="the name of its journal")
    options = parser.parse_args()
    plain_log.set_up()
    logging.basicConfig(level=read_str("LLMOBS_LOG_LEVEL", "info").upper())
    try:
        sock = _state_socket(options.state_fd, options.host, options.state_port)
        asyncio.run(_run(Address(options.host, options.port, sock), Place.from_env(), options.owner))
    except (EnvError, JournalError, OSError, RuntimeError) as error:  # RuntimeError: gRPC cannot have the port
        print(f"otlp-grpc: {error}", file=sys.stderr)
        return 1
    return 0


def _state_socket(fd: int | None, host: str, port: int | None) -> socket.socket | None:
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return None if port is None else socket.create_server((host, port), family=family)


async def _run(address: Address, place: Place, owner: str) -> None:
    kept, connections = place.secrets(), place.connections()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    journal = JournalWriter(place.journal / owner, kept.journal_key)
    keeper = RosterKeeper(connections.database_url, SnapshotFile(place.snapshot, kept.journal_key))
    keeper.start()
    try:
        await serve(address, journal, keeper, kept.secret_key, stopping)
    finally:
        keeper.stop()
        journal.close()


if __name__ == "__main__":
    sys.exit(main())
