"""A whole platform on one data folder: the lock, the ports, the stores, the preparation, then everything else."""

import errno
import fcntl
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO

from llmobs.core.env import Connections, Place, database_url_from_env, valkey_url_from_env, web_database_url_from_env
from llmobs.ops.embedded_postgres import EmbeddedPostgres
from llmobs.ops.embedded_valkey import EmbeddedValkey, free_port
from llmobs.ops.processes import (
    UNFIT_STATUS,
    Program,
    Store,
    beat_program,
    environment,
    gateway_programs,
    grpc_collector_program,
    postgres_program,
    prepare_command,
    valkey_program,
    web_program,
    worker_program,
    writer_programs,
)
from llmobs.ops.supervisor import Supervisor, end_orphans

LOOPBACK = "127.0.0.1"
MOST_PORT = 65535
BACKLOG = 2048  # connections that wait while a gateway is started again


class Taken(Exception):
    """The data folder or a port is in use; the message says which and what to do."""


class NothingToJoin(Exception):
    """`--join` without the addresses of a platform."""


class PreparationFailed(Exception):
    """Migrations or what goes with them failed; the message names the log."""


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for. Port 0 is any free one."""

    host: str = "127.0.0.1"
    web_port: int = 8000
    gateway_port: int = 4000
    gateway_workers: int = 1
    writers: int = 1
    otlp_grpc_port: int | None = None  # None: not answered
    otlp_grpc_state_port: int = 0  # on loopback, whatever `host` is
    join: bool = False  # one more host: gateways and a writer alone, for what other hosts have prepared


@dataclass(frozen=True)
class Doors:
    """Listening sockets that children share, and that outlive them; None: not on this host, or not asked for."""

    gateway: socket.socket
    web: socket.socket | None
    state: socket.socket | None  # of the gRPC collector's health and counts


def take_folder(place: Place) -> IO[bytes]:
    """Hold the folder for as long as the returned file is open; raises Taken."""
    place.make()
    lock = place.lock_file.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Taken(f"the data folder {place.folder} is taken: another `up` runs on it") from None
    return lock


def listen(host: str, port: int, option: str) -> socket.socket:
    """A listening socket for children to share; raises Taken."""
    if not 0 <= port <= MOST_PORT:
        raise Taken(f"there is no port {port}: {option} is between 0 (any free one) and {MOST_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio sets it on sockets that it made itself alone, and an answer's second part would
    # wait 40 ms for the reader's acknowledgement of the first, from the connection's second request on.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except socket.gaierror as error:
        listener.close()
        raise Taken(f"{host!r} is no address of this machine ({error.strerror}): choose another by --host") from None
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise Taken(f"{host} is no address of this machine: choose another by --host") from None
        raise Taken(
            f"port {port} on {host} is taken or forbidden ({error.strerror}): choose another by {option}"
        ) from None
    listener.set_inheritable(True)
    return listener


def keep_port(host: str, port: int, option: str) -> socket.socket:
    """A bound, silent socket: the port is this platform's, for a child that listens on it beside; raises Taken."""
    with listen(host, port, option) as probe:  # nobody else may have it, not even by sharing
        host, port = probe.getsockname()[:2]
        family = probe.family
    keeper = socket.socket(family, socket.SOCK_STREAM)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        keeper.bind((host, port))
    except OSError as error:
        keeper.close()
        raise Taken(f"port {port} on {host} was taken just now ({error.strerror}): begin again") from None
    return keeper


def run(place: Place, wishes: Wishes, say: Callable[[str], None]) -> None:
    """Run the platform until SIGTERM or Ctrl-C. Raises Taken, or what kept it from starting, all ended again."""
    if wishes.join and not (database_url_from_env() and valkey_url_from_env()):
        raise NothingToJoin("--join needs DATABASE_URL and VALKEY_URL, those of the platform (docs/hosts.md)")
    with take_folder(place):
        if orphans := end_orphans(place):
            say(f"Ended what an earlier `up` left behind: {', '.join(map(str, orphans))}")
        place.logs.mkdir(mode=0o700, exist_ok=True)
        place.journal.mkdir(mode=0o700, exist_ok=True)
        with ExitStack() as doors:
            gateway = doors.enter_context(listen(wishes.host, wishes.gateway_port, "--gateway-port"))
            web = None if wishes.join else doors.enter_context(listen(wishes.host, wishes.web_port, "--web-port"))
            state = None
            if wishes.otlp_grpc_port is not None:
                kept = doors.enter_context(keep_port(wishes.host, wishes.otlp_grpc_port, "--otlp-grpc-port"))
                state = doors.enter_context(listen(LOOPBACK, wishes.otlp_grpc_state_port, "--otlp-grpc-state-port"))
                ports = kept.getsockname()[1], state.getsockname()[1]
                wishes = replace(wishes, otlp_grpc_port=ports[0], otlp_grpc_state_port=ports[1])
            _run(place, wishes, Doors(gateway, web, state), say)


def _run(place: Place, wishes: Wishes, doors: Doors, say: Callable[[str], None]) -> None:
    postgres = None if database_url_from_env() else EmbeddedPostgres.of(place)
    valkey = None if valkey_url_from_env() else EmbeddedValkey.of(place, free_port())
    connections = Connections(
        database_url=postgres.url() if postgres else database_url_from_env(),
        valkey_url=valkey.url() if valkey else valkey_url_from_env(),
        gateway_port=doors.gateway.getsockname()[1],
        web_port=doors.web.getsockname()[1] if doors.web is not None else wishes.web_port,
        otlp_grpc_port=wishes.otlp_grpc_port,
        otlp_grpc_state_port=wishes.otlp_grpc_state_port if doors.state is not None else None,
        web_database_url=postgres.web_url() if postgres else web_database_url_from_env(),
    )
    supervisor = Supervisor(place, environment(place, connections), say)
    supervisor.take_signals()
    try:
        for program, store in _stores(postgres, valkey):
            store.wait_ready(supervisor.start(program), supervisor.log_file(program))
        place.keep_connections(connections)
        prepare(place, supervisor.env, wishes.join)
        for program in _programs(place, wishes, doors):
            if not supervisor.is_stopping:
                supervisor.start(program)
        if not supervisor.is_stopping:
            say(
                f"llmobs is up. {_dashboard(wishes, connections)}"
                f"gateway and collector http://{_host(wishes)}:{connections.gateway_port}/{_grpc(wishes)}. "
                "Ctrl-C ends it."
            )
        supervisor.run()
    finally:
        say("Ending ...")
        supervisor.stop()


def _stores(postgres: EmbeddedPostgres | None, valkey: EmbeddedValkey | None) -> list[tuple[Program, Store]]:
    found: list[tuple[Program, Store]] = []
    if postgres:
        found.append((postgres_program(postgres), postgres))
    if valkey:
        found.append((valkey_program(valkey), valkey))
    return found


def _programs(place: Place, wishes: Wishes, doors: Doors) -> list[Program]:
    port, web, state = wishes.otlp_grpc_port, doors.web, doors.state
    lanes = -(-wishes.writers // wishes.gateway_workers)
    return [
        *writer_programs(wishes.writers),
        *gateway_programs(wishes.gateway_workers, doors.gateway.fileno(), lanes),
        *([] if port is None or state is None else [grpc_collector_program(wishes.host, port, state.fileno())]),
        *([] if web is None else [web_program(web.fileno()), worker_program(), beat_program(place)]),
    ]


def prepare(place: Place, env: dict[str, str], join: bool = False) -> None:
    """Migrate and what goes with it, in a process that knows the stores' addresses from its start."""
    log = place.logs / "prepare.log"
    with log.open("wb") as errors:
        done = subprocess.run(prepare_command(join), env=env, stderr=errors, check=False)  # noqa: S603
    if done.returncode == UNFIT_STATUS:  # it has said why
        raise PreparationFailed("this host does not fit the platform (above); nothing was started")
    if done.returncode:
        raise PreparationFailed(f"the database could not be prepared (status {done.returncode}); the log is {log}")


def _grpc(wishes: Wishes) -> str:
    if wishes.otlp_grpc_port is None:
        return ""
    state = f"http://{LOOPBACK}:{wishes.otlp_grpc_state_port}/metrics"
    return f", OTLP/gRPC {_host(wishes)}:{wishes.otlp_grpc_port} (counts {state})"


def _dashboard(wishes: Wishes, connections: Connections) -> str:
    return "" if wishes.join else f"Dashboard http://{_host(wishes)}:{connections.web_port}/, "


def _host(wishes: Wishes) -> str:
    return "127.0.0.1" if wishes.host in ("0.0.0.0", "::") else wishes.host  # noqa: S104
