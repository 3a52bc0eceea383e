"""A simulator on a thread of its own, for tests and trials within one process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvloop

from llmobs.ops.simulator.bill import Bill
from llmobs.ops.simulator.certificate import self_signed
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.server import Simulator

START_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that answers: `url` without a path, as a provider's base_url is built from.

    With TLS it answers at `tls_url` too, by `certificate` (PEM).
    """

    url: str
    simulator: Simulator
    tls_url: str = ""
    certificate: str = ""

    @property
    def bill(self) -> Bill:
        return self.simulator.bill


@contextmanager
def running(
    faults: Faults | None = None, host: str = "127.0.0.1", port: int = 0, tls: bool = False
) -> Iterator[Running]:
    """Serve until the end of the block. Port 0: a free one. `simulator.faults` may be replaced meanwhile."""
    loop = uvloop.new_event_loop()
    simulator = Simulator(faults)
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    try:
        context, certificate = self_signed() if tls else (None, "")
        door = asyncio.run_coroutine_threadsafe(simulator.serve(host, port), loop).result(START_SECONDS)
        servers, tls_url = [door], ""
        if context is not None:
            serving = simulator.serve(host, 0, context)
            servers.append(asyncio.run_coroutine_threadsafe(serving, loop).result(START_SECONDS))
            tls_url = f"https://{host}:{port_of(servers[-1])}"
        yield Running(f"http://{host}:{port_of(door)}", simulator, tls_url, certificate)
        for server in servers:
            loop.call_soon_threadsafe(server.close)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def port_of(server: asyncio.Server) -> int:
    """The port that it is bound to."""
    return int(server.sockets[0].getsockname()[1])
