"""A simulator on a thread of its own, for tests and trials within one process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvloop

from llmobs.ops.simulator.bill import Bill
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.server import Simulator

START_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that answers: `url` without a path, as a provider's base_url is built from."""

    url: str
    simulator: Simulator

    @property
    def bill(self) -> Bill:
        return self.simulator.bill


@contextmanager
def running(faults: Faults | None = None, host: str = "127.0.0.1", port: int = 0) -> Iterator[Running]:
    """Serve until the end of the block. Port 0: a free one. `simulator.faults` may be replaced meanwhile."""
    loop = uvloop.new_event_loop()
    simulator = Simulator(faults)
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(simulator.serve(host, port), loop).result(START_SECONDS)
        bound = server.sockets[0].getsockname()[1]
        yield Running(f"http://{host}:{bound}", simulator)
        loop.call_soon_threadsafe(server.close)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
