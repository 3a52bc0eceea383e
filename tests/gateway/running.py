"""A gateway on a thread of its own, on a loopback socket, with real PostgreSQL and Valkey behind it."""

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx2 as httpx
import uvicorn
import uvloop

from gateway.plane import Plane
from gateway.serving import Wiring, serve
from llmobs.ingest.entries import Begin, End, Entry, OtlpBody, Refused
from llmobs.ingest.journal_reader import JournalReader
from llmobs.pricing.usage import Usage

PLATFORM_SECRET = "platform secret of the tests"
DEADLINE_SECONDS = 60.0  # of what takes moments where nothing else runs
T = TypeVar("T")


@dataclass
class Gateway:
    """A running gateway and what it wrote."""

    wiring: Wiring
    url: str
    server: uvicorn.Server | None = None
    plane: Plane | None = None
    started: threading.Event = field(default_factory=threading.Event)
    _test_began_at: int | None = None

    def entries(self) -> list[Entry]:
        """What the journal holds of this test."""
        return self._read()[0]

    def begin_test(self) -> None:
        """What the journal holds by now is another test's."""
        self._test_began_at = self._read()[1]

    def _read(self) -> tuple[list[Entry], int]:
        """The entries and where the next will be."""
        reader = JournalReader(self.wiring.journal / self.wiring.owner, self.wiring.journal_key)
        found: list[Entry] = []
        position = reader.start() if self._test_began_at is None else self._test_began_at
        while (chunk := reader.read(position)).entries:
            found += [entry for _, entry in chunk.entries]
            position = chunk.next
        return found, position

    def begins(self) -> list[Begin]:
        return [entry for entry in self.entries() if isinstance(entry, Begin)]

    def ends(self) -> list[End]:
        return [entry for entry in self.entries() if isinstance(entry, End)]

    def refusals(self) -> list[Refused]:
        return [entry for entry in self.entries() if isinstance(entry, Refused)]

    def otlp(self) -> list[OtlpBody]:
        return [entry for entry in self.entries() if isinstance(entry, OtlpBody)]

    def wait_until(self, is_so: Callable[[], T], what: str) -> T:
        """Look again and again until it is so, within a deadline."""
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until:
            found = is_so()
            if found:
                return found
            threading.Event().wait(0.01)
        raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")

    def wait_for_config(self, version: int) -> None:
        """Until it serves by this version of the configuration."""

        def is_there() -> bool:
            snapshot = self.plane.snapshot if self.plane is not None else None
            return snapshot is not None and snapshot.version >= version

        self.wait_until(is_there, f"configuration {version}")

    def end(self) -> End:
        """The one End, once it is there."""
        return self.wait_until(self.ends, "an End in the journal")[0]

    def is_quiet(self) -> bool:
        """Every call that began has ended."""
        return len(self.begins()) == len(self.ends())

    def usage(self) -> Usage:
        """What the one call used, once it is there."""
        usage = self.end().usage
        assert usage is not None
        return usage


@contextmanager
def running(folder: Path, database_url: str, valkey_url: str) -> Iterator[Gateway]:
    """Serve until the end of the block."""
    wiring = Wiring(
        owner=f"gateway-{secrets.token_hex(4)}",
        journal=folder / "journal",
        snapshot=folder / "snapshot",
        database_url=database_url,
        valkey_url=valkey_url,
        journal_key=b"k" * 32,
        platform_secret=PLATFORM_SECRET,
        encryption_keys=("QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=",),
    )
    sock = socket.create_server(("127.0.0.1", 0), backlog=512)
    gateway = Gateway(wiring, f"http://127.0.0.1:{sock.getsockname()[1]}")

    def started(server: uvicorn.Server, plane: Plane) -> None:
        gateway.server, gateway.plane = server, plane
        gateway.started.set()

    async def main() -> None:
        await serve(wiring, sock, started)

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    try:
        assert gateway.started.wait(DEADLINE_SECONDS), "the gateway did not start"
        gateway.wait_until(lambda: _answers(gateway.url), "the gateway answers")
        yield gateway
    finally:
        if gateway.server is not None:
            gateway.server.should_exit = True
            gateway.server.force_exit = True
        thread.join(DEADLINE_SECONDS)
        sock.close()
    assert not thread.is_alive(), "the gateway did not end"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False
