"""The platform of the fault table: up on a folder of its own, on small disks where asked; killed and begun again."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import redis

from llmobs.core.env import Connections, Place
from llmobs.ops.verify import verify
from tests.bench.machine import ROOT
from tests.bench.platform import free_port

SECRET = "llmobs-faults-0123456789abcdef0123456789abcdef"
CONFIGURATION = """
providers:
  - {{name: openai, dialect: openai, base_url: "{url}/v1", credential: "env:FAULTS_PROVIDER_KEY", breaker: off}}
tenants:
  - slug: faults
    name: Faults
    content: full
    keys: [{{name: load, secret: "env:FAULTS_KEY", feature: faults}}]
    budgets: [{{name: ever, limit_usd: "100000", window: total, action: block}}]
"""
READY_SECONDS = 600.0
QUIET_SECONDS = 15.0


class Up:
    """`manage.py up` with two gateways and the gRPC door."""

    def __init__(self, data: Path, env: dict[str, str]) -> None:
        self.data = data
        self.gateway_port, self.web_port, self.grpc_port = free_port(), free_port(), free_port()
        # A test run's settings are not a platform's.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
        self._env = {**kept, "FAULTS_KEY": SECRET, "FAULTS_PROVIDER_KEY": "none", **env}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, or begin again after a kill."""
        words = {
            "--gateway-port": self.gateway_port, "--web-port": self.web_port, "--otlp-grpc-port": self.grpc_port,
            "--gateway-workers": 2,
        }  # fmt: skip
        command = [sys.executable, "manage.py", "up", "--data", str(self.data), "--otlp-grpc"]
        for name, value in words.items():
            command += [name, str(value)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    @property
    def supervisor(self) -> int:
        assert self._process is not None
        return self._process.pid

    def was_killed(self) -> None:
        """Take note of its end."""
        assert self._process is not None
        self._process.wait(30)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it, and whatever it has left."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)

    def pids(self, kind: str) -> list[int]:
        """Living processes of a kind; none while run.json is being made."""
        try:
            return list(json.loads((self.data / "run.json").read_text()).get(kind, []))
        except (OSError, ValueError):
            return []

    @property
    def connections(self) -> Connections:
        # As kept: the environment of a test run names other stores.
        return Connections(**json.loads(Place(self.data).connections_file.read_text()))

    @property
    def database_url(self) -> str:
        return self.connections.database_url

    def apply(self, provider_url: str) -> None:
        file = self.data / "faults.yaml"
        file.write_text(CONFIGURATION.format(url=provider_url))
        done = subprocess.run(
            [sys.executable, "manage.py", "apply", str(file), "--data", str(self.data)],
            cwd=ROOT, env=self._env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"apply failed: {done.stdout}{done.stderr}")

    def verify(self) -> str:
        """The differences that `manage.py verify` would print, the first of them; "": none."""
        connections = self.connections
        with (
            psycopg.connect(connections.database_url, autocommit=True) as conn,
            redis.Redis.from_url(connections.valkey_url) as client,
        ):
            until = time.monotonic() + QUIET_SECONDS
            while (found := verify(conn, client).differences) and time.monotonic() < until:
                time.sleep(0.5)  # the last folds are on their way to the ledger
        return "; ".join(str(difference) for difference in found[:5])

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until gateway and web say that they can do their work. Raises TimeoutError."""
        until = time.monotonic() + seconds
        for port in (self.gateway_port, self.web_port):
            while not is_ready(port):
                if time.monotonic() > until:
                    raise TimeoutError(f"port {port} was not ready within {seconds:.0f} s")
                time.sleep(0.1)

    def postgres_family(self) -> list[int]:
        """The postmaster and its backends."""
        found = []
        for pid in self.pids("postgres"):
            with suppress(psutil.Error):
                found += [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return found

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.database_url, autocommit=True, connect_timeout=30)


@contextmanager
def platform(provider_url: str, env: dict[str, str], disks: dict[str, int] | None = None) -> Iterator[Up]:
    """Up, configured and ready. `disks`: folders below the data folder ("": itself) that are disks of so many MB."""
    with (
        tempfile.TemporaryDirectory(prefix="llmobs-faults-", ignore_cleanup_errors=True) as folder,
        ExitStack() as mounted,
    ):
        for name, megabytes in (disks or {}).items():
            mounted.enter_context(small_disk(Path(folder) / name, megabytes))
        up = Up(Path(folder), env)
        up.start()
        try:
            up.wait_ready()
            up.apply(provider_url)
            yield up
        finally:
            up.stop()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Mount one there. Raises CalledProcessError where it is not allowed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def filled(folder: Path, left_bytes: int = 0) -> Iterator[None]:
    """The disk of this folder is full until the end of the block."""
    ballast = folder / "ballast"
    try:
        _fill(ballast)
        if left_bytes:
            os.truncate(ballast, max(0, ballast.stat().st_size - left_bytes))
        yield
    finally:
        ballast.unlink(missing_ok=True)


def _fill(ballast: Path) -> None:
    block = bytes(256 * 1024)
    with ballast.open("ab", buffering=0) as file:
        while block:
            try:
                while file.write(block) == len(block):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            block = block[: len(block) // 2]


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=3) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
