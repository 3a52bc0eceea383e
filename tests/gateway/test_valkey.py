"""The connection to Valkey: one that is silent, loads, or loses answers never takes the gateway with it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hiredis
import httpx2 as httpx
import pytest
import redis
import uvloop

from gateway.holds import Holds
from gateway.valkey import Away, Valkey
from llmobs.budgets.definition import Applied, BudgetInfo, apply
from llmobs.budgets.ledger import Granted
from tests.gateway.running import running
from tests.gateway.world import World

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 10}
BUDGET = BudgetInfo(1, 1, "monthly", "usd", 1000, "total", (), "block", (), 1, "UTC", 0)
ASKED: list[tuple[Applied, int]] = [(apply(BUDGET, "", 0, 2**40), 10)]
A = "0123456789abcdef"


def test_a_valkey_that_accepts_and_never_answers_does_not_keep_the_gateway_from_serving(
    tmp_path: Path, world: World, secret: str, providers: dict[str, int], database_url: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running(tmp_path, database_url, f"redis://127.0.0.1:{silent.getsockname()[1]}") as gateway,
    ):
        gateway.wait_for_config(world.version())
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx.post(gateway.url + CHAT, json=GOOD, headers=headers).status_code == 200


Answer = Callable[[list[Any]], bytes]


async def with_server(answer: Answer, work: Callable[[str], Awaitable[None]]) -> None:
    """A server that answers each command as it is told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (words := parser.gets()) is not False:
                writer.write(answer(words))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with asyncio.timeout(5):
        await work(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(4):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_valkey_that_is_still_loading_is_joined_once_it_has_loaded() -> None:
    asked = 0

    def answer(words: list[Any]) -> bytes:
        nonlocal asked
        if words[0] == b"GET":
            asked += 1
            return b"-LOADING Valkey is loading the dataset in memory\r\n" if asked < 3 else b"+open n:run-1\r\n"
        info = b"$14\r\nrun_id:run-1\r\n\r\n"
        return {b"INFO": info, b"CLIENT": b":1\r\n"}.get(words[0], b"+OK\r\n")

    async def work(url: str) -> None:
        holds = Holds(url, "gateway-1")
        await holds.start()
        await until(lambda: holds.attempts.is_joined)
        await holds.stop()

    asyncio.run(with_server(answer, work))


def test_a_release_that_was_repeated_is_forgotten(valkey: redis.Redis, valkey_url: str) -> None:
    run_id = valkey.info("server")["run_id"]
    valkey.set("ledger:epoch", f"open n:{run_id}")
    valkey.sadd("ledger:{1}:counted", "1:1")

    async def work() -> None:
        holds = Holds(valkey_url, "gateway-1")
        await holds.start()
        await until(lambda: holds.attempts.is_joined)
        assert isinstance(await holds.reserve(A, 1, ASKED), Granted)
        wire = holds.valkey._wire  # the connection breaks at this moment
        assert wire is not None
        holds.give_back(A)
        wire.abort()
        await until(lambda: holds.valkey.losses > 0 and holds.valkey.is_connected)
        await until(lambda: len(holds.attempts) == 0)
        await holds.stop()

    asyncio.run(work())
    assert valkey.hget("ledger:{1}:1:1:0:", "held") == b"0"


def test_a_connection_that_was_lost_a_moment_ago_is_away_and_no_fault_of_ours(valkey_url: str) -> None:
    async def work() -> None:
        client = Valkey(valkey_url)
        await client.start()
        assert client._wire is not None
        client._wire.abort()  # as a failed write does: closed, but not yet told to the protocol
        with pytest.raises(Away):
            client.call("PING")
        await client.stop()

    uvloop.run(work())
