"""`python -m gateway --fd N --owner NAME`: one gateway process on a socket it was given, or on `--port`."""

import argparse
import asyncio
import logging
import signal
import socket
import sys

import uvicorn
import uvloop

from gateway.app import App
from gateway.holds import Holds
from gateway.plane import Plane
from gateway.snapshot import Snapshot, SnapshotFile, SnapshotKeeper, Stored
from llmobs.core.env import EnvError, Place, read_str
from llmobs.ingest.journal import JournalError, JournalWriter

KEEP_ALIVE_SECONDS = 75  # longer than clients keep an idle connection, so that they close it, not we
GRACE_SECONDS = 30  # for calls under way, when asked to stop
MOST_CALLS = 10_000  # at once; more is answered 503

log = logging.getLogger("gateway")


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--fd", type=int, help="a listening socket inherited from the supervisor")
    place.add_argument("--port", type=int, default=4000)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--owner", default="gateway", help="the name of this process's journal")
    options = parser.parse_args()
    logging.basicConfig(
        level=read_str("LLMOBS_LOG_LEVEL", "info").upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        sock = _socket(options.fd, options.host, options.port)
        uvloop.run(_serve(sock, options.owner))
    except (EnvError, JournalError, OSError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _socket(fd: int | None, host: str, port: int) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    sock = socket.create_server((host, port), backlog=2048)
    sock.set_inheritable(False)
    return sock


async def _serve(sock: socket.socket, owner: str) -> None:
    place = Place.from_env()
    secrets, connections = place.secrets(), place.connections()
    journal = JournalWriter(place.journal / owner, secrets.journal_key)
    holds = Holds(connections.valkey_url, owner)
    plane = _plane(holds, journal, secrets.secret_key)

    def make(stored: Stored) -> Snapshot:
        return Snapshot(stored, plane.upstream, secrets.encryption_keys)

    def install(snapshot: Snapshot) -> None:
        plane.snapshot = snapshot

    file = SnapshotFile(place.snapshot, secrets.journal_key)
    keeper = SnapshotKeeper(connections.database_url, owner, file, make, install)
    await holds.start()
    keeper.start()
    tick = asyncio.create_task(_tick(plane))
    try:
        await _server(App(plane)).serve(sockets=[sock])
    finally:
        tick.cancel()
        keeper.stop()
        await holds.stop()
        plane.upstream.close()
        journal.close()


def _plane(holds: Holds, journal: JournalWriter, platform_secret: str) -> Plane:
    plane = Plane.of(holds, journal, platform_secret)
    plane.counts.gauges |= {
        "valkey_connected": lambda: float(holds.valkey.is_connected),
        "live_holds": lambda: float(len(holds.attempts)),
        "unsettled": lambda: float(holds.unsettled),
        "config_version": lambda: float(plane.snapshot.version if plane.snapshot is not None else -1),
    }
    return plane


def _server(app: App) -> uvicorn.Server:
    # Our own handlers come first, so that uvicorn's repeat of the signal after its shutdown ends nothing by force.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=MOST_CALLS,
        reset_contextvars=False,
    )
    return uvicorn.Server(config)


async def _tick(plane: Plane) -> None:
    """Once a second: what no call does."""
    while True:
        await asyncio.sleep(1.0)
        plane.upstream.close_old(asyncio.get_running_loop().time())
        plane.recorder.retry()


if __name__ == "__main__":
    sys.exit(main())
