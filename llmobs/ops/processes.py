"""What `up` runs: each process's command, environment and manner of ending."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from llmobs.core.env import Connections, Place
from llmobs.ops.embedded_postgres import EmbeddedPostgres
from llmobs.ops.embedded_valkey import EmbeddedValkey

# Marks our children, with their data folder: so the next `up` knows what a killed one left behind.
MARK = "LLMOBS_SUPERVISED_BY"
WEB_POOL = 8  # database connections of the web process
WORKER_PROCESSES = 2
UNFIT_STATUS = 3  # of the preparation: this host must not work beside those that do
GATEWAY_STOP_SECONDS = 40.0  # it gives calls under way 30 s
_ROOT = Path(__file__).resolve().parents[2]  # where `llmobs` and `gateway` are imported from


@dataclass(frozen=True)
class Program:
    """One process to keep running.

    `command` is asked anew for each start (an owner's name serves one process). Programs stop in the order of
    their `stop_rank`, lowest first, those of one rank together.
    """

    kind: str
    name: str
    command: Callable[[], Sequence[str]]
    stop_rank: int
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 20.0
    prepare: Callable[[], None] | None = None


class Store(Protocol):
    """An embedded store: what both of them can do."""

    def prepare(self) -> None: ...
    def command(self) -> list[str]: ...
    def wait_ready(self, child: subprocess.Popen[bytes], log: Path) -> None: ...


# A store writes what it has in memory as it ends, which a busy disk may take long for: killed, it reads its log again.
STORE_STOP_SECONDS = 120.0

# The order of the end: who calls the gateway, the ways in, the writer (which drains the journals), the stores.
_WORKER_RANK, _DOOR_RANK, _WRITER_RANK, _VALKEY_RANK, _POSTGRES_RANK = range(5)


def postgres_program(store: EmbeddedPostgres) -> Program:
    return Program(
        "postgres", "postgres", store.command, _POSTGRES_RANK, stop_signal=signal.SIGINT, prepare=store.prepare,
        stop_seconds=STORE_STOP_SECONDS,
    )  # fmt: skip


def valkey_program(store: EmbeddedValkey) -> Program:
    return Program(
        "valkey", "valkey", store.command, _VALKEY_RANK, prepare=store.prepare, stop_seconds=STORE_STOP_SECONDS
    )


def gateway_programs(count: int, descriptor: int, lanes: int) -> list[Program]:
    """All share one listening socket, which outlives each of them. `lanes`: journals of each, for several writers."""
    return [
        Program(
            "gateway",
            f"gateway-{number}",
            # Its assertions only tell the type checker what is so: without them a call takes some percent less.
            lambda: [
                sys.executable,
                "-O",
                "-m",
                "gateway",
                "--fd",
                str(descriptor),
                "--owner",
                f"gateway-{secrets.token_hex(6)}",
                "--lanes",
                str(lanes),
            ],
            _DOOR_RANK,
            pass_fds=(descriptor,),
            stop_seconds=GATEWAY_STOP_SECONDS,
        )
        for number in range(1, count + 1)
    ]


def writer_programs(count: int) -> list[Program]:
    """They share the host's journals."""

    def program(number: int) -> Program:
        name = "writer" if number == 1 else f"writer-{number}"
        command = _python("llmobs.ingest", "--number", str(number))
        return Program("writer", name, lambda: command, _WRITER_RANK)

    return [program(number) for number in range(1, count + 1)]


def grpc_collector_program(host: str, port: int, descriptor: int) -> Program:
    """It has its own port: gRPC takes no listening socket. What is given is that of its counts and health."""

    def command() -> list[str]:
        owner, state = f"otlp-grpc-{secrets.token_hex(6)}", ("--state-fd", str(descriptor))
        return _python("gateway.grpc_collector", "--host", host, "--port", str(port), *state, "--owner", owner)

    return Program("collector", "otlp-grpc", command, _DOOR_RANK, pass_fds=(descriptor,))


def web_program(descriptor: int) -> Program:
    arguments = (
        "llmobs.asgi:application", "--fd", str(descriptor), "--ws", "none", "--lifespan", "off", "--no-access-log",
        "--no-server-header", "--log-level", "warning", "--timeout-graceful-shutdown", "10",
    )  # fmt: skip
    return Program(
        "web", "web", lambda: _python("uvicorn", *arguments), _DOOR_RANK,
        env={"LLMOBS_DB_POOL": os.environ.get("LLMOBS_DB_POOL", str(WEB_POOL))}, pass_fds=(descriptor,),
    )  # fmt: skip


def worker_program() -> Program:
    arguments = ("worker", "--concurrency", str(WORKER_PROCESSES), "--without-gossip", "--without-mingle")
    return Program(
        "worker", "worker", lambda: _python("celery", "-A", "llmobs.celery", *arguments), _WORKER_RANK, stop_seconds=10
    )


def beat_program(place: Place) -> Program:
    arguments = ("beat", "--schedule", str(place.folder / "beat"), "--pidfile=")
    return Program("beat", "beat", lambda: _python("celery", "-A", "llmobs.celery", *arguments), _WORKER_RANK)


def prepare_command(join: bool) -> list[str]:
    """Migrations, partitions, static files, the first operator; of a host that joins: whether others have done it."""
    return _python("llmobs.ops", "prepare", "--join" if join else "--show-password")


def environment(place: Place, connections: Connections) -> dict[str, str]:
    """What every child gets: the folder, the addresses, and our mark."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "LLMOBS_DATA": str(place.folder),
        "DATABASE_URL": connections.database_url,
        "WEB_DATABASE_URL": connections.web_database_url,
        "VALKEY_URL": connections.valkey_url,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        MARK: str(place.folder),
    }


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
