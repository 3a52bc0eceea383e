"""The proof's callers, a process of their own: `python -m tests.bench.proof_callers PORT STREAMS SEED FILE`.

Each stream makes one call after the other and writes what it got as a line of JSON; a refused one waits before it asks
again. SIGTERM: what is under way is given some seconds, then it ends.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import uvloop

from tests.bench.proof_wire import Wanted, answered_id, exchange, wanted

AFTER_REFUSAL_SECONDS = (0.3, 1.5)
AFTER_LOSS_SECONDS = 0.1  # a dead gateway refuses connections at once
MOST_SECONDS = 60.0  # of one call
LAST_SECONDS = 20.0
KEPT_ALIVE = 0.8  # of the calls find the connection of the one before: the rest spread over all gateways anew

Tell = Callable[[dict[str, object]], None]


async def main(port: int, streams: int, seed: int, tell: Tell) -> None:
    """All streams, until told to stop."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    tasks = [asyncio.create_task(_stream(port, f"{seed}-{n}", streams, stopping, tell)) for n in range(streams)]
    await stopping.wait()
    _, pending = await asyncio.wait(tasks, timeout=LAST_SECONDS)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stream(port: int, name: str, streams: int, stopping: asyncio.Event, tell: Tell) -> None:
    chance, number, began = Random(name), 0, time.monotonic()
    pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    await asyncio.sleep(chance.uniform(0, 2))
    while not stopping.is_set():
        number += 1
        call = wanted(chance, time.monotonic() - began, f"{name}-{number}", streams)
        said: dict[str, object] = {"tenant": call.tenant, "at": time.time()}
        pause_s = 0.0
        try:
            pair = pair or await asyncio.open_connection("127.0.0.1", port, limit=2**20)
            async with asyncio.timeout(call.hangs_up_s or MOST_SECONDS):
                said |= await _told(call, *pair)
            pause_s = 0.0 if said["status"] == 200 else chance.uniform(*AFTER_REFUSAL_SECONDS)
        except TimeoutError:
            said["broken"] = "we left" if call.hangs_up_s else "no answer"
            _close(pair)
            pair = None
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            said["broken"] = type(error).__name__
            _close(pair)
            pair, pause_s = None, AFTER_LOSS_SECONDS
        tell({**said, "seconds": time.time() - float(str(said["at"]))})
        if chance.random() > KEPT_ALIVE:
            _close(pair)
            pair = None
        if pause_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause_s)
    _close(pair)


async def _told(call: Wanted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, object]:
    response = await exchange(reader, writer, call.request)
    return {
        "status": response.status,
        "reason": response.headers.get("x-llmobs-reason", ""),
        "response_id": answered_id(call, response),
        "cost_usd": response.headers.get("x-llmobs-cost-usd", ""),
        "attempts": response.headers.get("x-llmobs-attempts", ""),
    }


def _close(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if pair is not None:
        pair[1].close()


if __name__ == "__main__":
    port, streams, seed = [int(word) for word in sys.argv[1:4]]
    with open(sys.argv[4], "w", buffering=1) as file:
        uvloop.run(main(port, streams, seed, lambda said: print(json.dumps(said), file=file)))
