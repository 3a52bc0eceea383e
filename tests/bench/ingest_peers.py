"""What phoenix and mlflow make of the bodies that the ingest benchmark sends to us, on the same machine, one by one.

Each as it is shipped, with SQLite; out of an environment of its own (phoenix.txt, mlflow.txt). Durable are the rows in
its database once no more come; what it acknowledged beyond is lost when it is killed.
"""

import os
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.environment import interpreter
from tests.bench.machine import cpu_seconds, descendants, resident_mb
from tests.bench.platform import free_port
from tests.bench.senders import send_all

PROTOBUF = {"Content-Type": "application/x-protobuf"}
SENDERS = 4
READY_SECONDS = 300
QUIET_SECONDS = 6  # without a new row: nothing more comes
LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """A program and how it is started: `command` of its port and folder. `requests`: as many as it takes in a while."""

    name: str
    requests: int
    database: str  # its file in the folder
    health: str
    command: Callable[[Path, int, Path], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a program did with what it was sent. Rates are per second, CPU in µs, memory in MB."""

    name: str
    acknowledged: float
    durable: float
    cpu: float
    bytes: float
    memory: float


PHOENIX = Peer(
    "phoenix", 20, "phoenix.db", "/healthz",
    lambda python, port, folder: [str(python.with_name("phoenix")), "serve"],
    {"PHOENIX_HOST": "127.0.0.1", "PHOENIX_TELEMETRY_ENABLED": "false"},
)  # fmt: skip
MLFLOW = Peer(
    "mlflow", 40, "mlflow.db", "/health",
    lambda python, port, folder: [
        str(python.with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "artifacts"),
        "--uvicorn-opts", "--timeout-worker-healthcheck 300",  # a busy machine would have its workers killed
    ],
    {"MLFLOW_DISABLE_TELEMETRY": "true"},
    {"x-mlflow-experiment-id": "0"},
)  # fmt: skip
PEERS = (PHOENIX, MLFLOW)


def measured(peer: Peer, bodies: Sequence[bytes], spans_each: int) -> Figures | None:
    """Its figures for the first of these bodies; None, and said, where it cannot be had."""
    python = interpreter(peer.name)
    if python is None:
        return None
    with tempfile.TemporaryDirectory(prefix=f"llmobs-bench-{peer.name}-") as name:
        folder, port = Path(name), free_port()
        with _running(peer, python, port, folder) as pid:
            return _figures(peer, list(bodies[: peer.requests]), spans_each, port, folder, pid) if pid else None


def _figures(peer: Peer, bodies: list[bytes], spans_each: int, port: int, folder: Path, pid: int) -> Figures:
    send_all(port, bodies[:1], 1, headers=PROTOBUF | peer.headers)
    database, sent = folder / peer.database, bodies[1:]
    before = _settled(database)[0]
    size, used, began = _bytes(folder), cpu_seconds(descendants(pid)), time.perf_counter()
    send_all(port, sent, SENDERS, headers=PROTOBUF | peer.headers)
    acknowledged = time.perf_counter() - began
    rows, last = _settled(database)
    spans = max(rows - before, 1)
    return Figures(
        peer.name,
        len(sent) * spans_each / acknowledged,
        spans / (last - began),
        (cpu_seconds(descendants(pid)) - used) / spans * 1e6,
        (_bytes(folder) - size) / spans,
        resident_mb(descendants(pid)),
    )


def _settled(database: Path) -> tuple[int, float]:
    """Rows once no more have come for a while, and when the last one had."""
    rows, last = _rows(database), time.perf_counter()
    began = last
    while time.perf_counter() - last < QUIET_SECONDS and time.perf_counter() - began < LONGEST_SECONDS:
        time.sleep(0.2)
        if (now := _rows(database)) > rows:
            rows, last = now, time.perf_counter()
    return rows, last


def _rows(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as conn:
        return int(conn.execute("SELECT count(*) FROM spans").fetchone()[0])


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _running(peer: Peer, python: Path, port: int, folder: Path) -> Iterator[int]:
    """Its process for the length of the block, ended with all below it; 0, and said, where it does not start."""
    env = {**os.environ, **peer.env, "PHOENIX_WORKING_DIR": str(folder), "PHOENIX_PORT": str(port)}
    env["PHOENIX_GRPC_PORT"] = str(free_port())
    process = subprocess.Popen(
        peer.command(python, port, folder), env=env, cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        is_ready = _is_ready(process, f"http://127.0.0.1:{port}{peer.health}")
        if not is_ready:
            print(f"{peer.name} did not start: no ratios to it")
        yield process.pid if is_ready else 0
    finally:
        _end(process)


def _is_ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return True
        except OSError:
            time.sleep(0.5)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With its workers: they are of its session alone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
    process.wait(30)
