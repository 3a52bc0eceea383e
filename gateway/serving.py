"""One running gateway: its parts put together, served by uvicorn, and taken down in order."""

import asyncio
import gc
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit

import uvicorn
from uvicorn.server import ServerState

from gateway.app import App
from gateway.brake import SHARE
from gateway.client import MOST_OF_ADDRESS, Addresses, Client, protocol
from gateway.front import ADMIT, ADMIT_AGAIN
from gateway.holds import Holds
from gateway.lanes import lane_name
from gateway.plane import Plane
from gateway.rates import RENEW, SETTLE
from gateway.response_cache import SCRIPTS as CACHE_SCRIPTS
from gateway.settling import SETTLE as SETTLE_ALL
from gateway.snapshot import Snapshot, SnapshotFile, SnapshotKeeper, Stored
from gateway.turn import Turn
from llmobs.core.env import VALKEY_SOCKET, Place, read_int, read_str
from llmobs.ingest.journal import JournalWriter

KEEP_ALIVE_SECONDS = 75  # longer than clients keep an idle connection, so that they close it, not we
UNCONFIGURED_SECONDS = 3.0  # longest wait at the start; then calls are told that we are not ready
GRACE_SECONDS = 30  # for calls under way, when asked to stop
STALLED_SECONDS = 60  # a client that takes none of what it is sent for so long has gone
# Loaded at each connection, besides the ledger's.
SCRIPTS = (ADMIT, ADMIT_AGAIN, SETTLE_ALL, SETTLE, RENEW, SHARE, *CACHE_SCRIPTS)
LOOK_SECONDS = 5  # how often idle connections are looked for


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a gateway needs to know of its platform."""

    owner: str
    journal: Path  # holds one folder per owner
    snapshot: Path
    database_url: str
    valkey_url: str
    journal_key: bytes
    platform_secret: str
    encryption_keys: tuple[str, ...]
    web_url: str = ""  # where people are led
    most_of_address: int = MOST_OF_ADDRESS  # connections at once
    lanes: int = 1  # journals that reports go to in turn

    @classmethod
    def of(cls, place: Place, owner: str, lanes: int = 1) -> "Wiring":
        """As the platform on this data folder is set up. Raises EnvError."""
        secrets, connections = place.secrets(), place.connections()
        return cls(
            owner=owner,
            lanes=lanes,
            journal=place.journal,
            snapshot=place.snapshot,
            database_url=connections.database_url,
            valkey_url=nearest(place, connections.valkey_url),
            journal_key=secrets.journal_key,
            platform_secret=secrets.secret_key,
            encryption_keys=secrets.encryption_keys,
            most_of_address=read_int("LLMOBS_CONNECTIONS_PER_ADDRESS", MOST_OF_ADDRESS),
            web_url=read_str("LLMOBS_BASE_URL").rstrip("/") or f"http://127.0.0.1:{connections.web_port}",
        )


def nearest(place: Place, valkey_url: str) -> str:
    """The embedded Valkey's own socket where there is one: half the system's work of a loopback connection."""
    parts, door = urlsplit(valkey_url), place.valkey / VALKEY_SOCKET
    if parts.hostname not in ("127.0.0.1", "localhost") or not door.is_socket():
        return valkey_url
    return f"unix://:{parts.password}@{quote(str(door))}?db={parts.path.strip('/') or 0}&port={parts.port}"


async def serve(wiring: Wiring, sock: socket.socket, started: Callable[[uvicorn.Server, Plane], None]) -> None:
    """Serve until the server is told to exit. Raises JournalError when the owner's journal cannot be had."""
    journals = [
        JournalWriter(wiring.journal / lane_name(wiring.owner, number), wiring.journal_key)
        for number in range(1, wiring.lanes + 1)
    ]
    turn = Turn()
    holds = Holds(wiring.valkey_url, wiring.owner, SCRIPTS, turn)
    plane = Plane.of(holds, journals, wiring.platform_secret, wiring.journal_key, turn)
    turn.first = plane.recorder.flush
    plane.brake.web_url = wiring.web_url
    plane.counts.gauges |= {
        "valkey_connected": lambda: float(holds.valkey.is_connected),
        "live_holds": lambda: float(len(holds.attempts)),
        "unsettled": lambda: float(holds.unsettled),
        "overruns_waiting": lambda: float(plane.overruns.waiting),
        "config_version": lambda: float(plane.snapshot.version if plane.snapshot is not None else -1),
    }
    keeper = _keeper(wiring, plane)
    await holds.start()
    keeper.start()
    server = _server(App(plane), turn, wiring.most_of_address)
    tick = asyncio.create_task(_tick(plane, keeper, server.server_state))
    health = asyncio.create_task(plane.health.keep())
    brake = asyncio.create_task(plane.brake.keep())
    canary = asyncio.create_task(plane.canary.sing(_door_of(server), lambda: server.started and bool(plane.snapshot)))
    _give_up_stalled(sock)
    _spare_the_collector()
    started(server, plane)
    try:
        await _configured(plane)
        await server.serve(sockets=[sock])
    finally:
        tick.cancel()
        health.cancel()
        brake.cancel()
        canary.cancel()
        await asyncio.to_thread(keeper.stop)
        await holds.stop()
        plane.upstream.close()
        plane.recorder.retry()  # Ends that the disk did not take: the last chance for their exact bills
        for each in journals:
            each.close()


async def _configured(plane: Plane) -> None:
    """What comes before the configuration is there waits in the socket, for a moment, and is not refused."""
    until = time.monotonic() + UNCONFIGURED_SECONDS
    while plane.snapshot is None and time.monotonic() < until:  # noqa: ASYNC110 -- once, at the process's start
        await asyncio.sleep(0.01)


def _spare_the_collector() -> None:
    """What is there at the start stays, and calls leave next to no cycles: looked for seldom (5 % of a call's CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _give_up_stalled(sock: socket.socket) -> None:
    """Accepted connections inherit it; where the system does not know it, such a stream ends at its longest time."""
    if hasattr(socket, "TCP_USER_TIMEOUT") and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_SECONDS * 1000))


def _keeper(wiring: Wiring, plane: Plane) -> SnapshotKeeper:
    def make(stored: Stored) -> Snapshot:
        return Snapshot(stored, plane.upstream, wiring.encryption_keys, plane.canary.key())

    def install(snapshot: Snapshot) -> None:
        plane.overruns.hold_for(snapshot)
        plane.snapshot = snapshot

    file = SnapshotFile(wiring.snapshot, wiring.journal_key)
    return SnapshotKeeper(
        wiring.database_url, wiring.owner, file, make, install, lambda: plane.canary.state, plane.overruns.write
    )


def _server(app: App, turn: Turn, most_of_address: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=protocol(app, turn, Addresses(most_of_address, app.proxies)),  # type: ignore[arg-type]  # what makes a connection
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def _door_of(server: uvicorn.Server) -> Callable[[], asyncio.Protocol]:
    """The server's side of a connection, as it makes one for each that it accepts."""

    def accept() -> asyncio.Protocol:
        config = server.config
        return config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn makes one
            config=config, server_state=server.server_state, app_state={}
        )

    return accept


async def _tick(plane: Plane, keeper: SnapshotKeeper, state: ServerState) -> None:
    """Once a second: what no call does."""
    for second in count():
        await asyncio.sleep(1.0)
        now = asyncio.get_running_loop().time()
        plane.upstream.close_old(now)
        if second % LOOK_SECONDS == 0:
            _close_idle(state, now - KEEP_ALIVE_SECONDS)
        plane.recorder.retry()
        plane.holds.look()
        valkey = plane.holds.valkey
        for command in plane.rates.tick(time.monotonic(), valkey.is_connected, valkey.losses, keeper.gateways):
            plane.holds.tell(command)


def _close_idle(state: ServerState, before: float) -> None:
    for client in list(state.connections):
        if isinstance(client, Client):
            client.close_idle(before)
