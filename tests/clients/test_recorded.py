"""What any client asked of any provider is stored: texts, model, time, tokens, money, and how it failed."""

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import psycopg
import pytest

from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from llmobs.spans.blocks import read_content
from tests.clients.asking import HELLO, MOST
from tests.clients.conftest import CLAUDE, GPT
from tests.gateway.running import Gateway, running
from tests.gateway.world import World
from tests.gateway.written import shared_gateway, writer
from tests.stores import Stores

__all__ = ["shared_gateway", "writer"]

Connection = psycopg.Connection[Any]
FAULTS = ("status=500, retry_after=0", "status=400", "garbage", "drop", "error200", "half")
# USD per million tokens of input and output, as nano-USD per token
PRICES = {GPT: (150, 600), CLAUDE: (3000, 15000)}


def stored(gateway: Gateway, writer: Writer, pg: Connection, columns: str) -> list[Any]:
    """The columns of all spans, in the order of their start."""
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    assert verify(pg).differences == []
    return pg.execute(f"SELECT {columns} FROM span ORDER BY start").fetchall()


def ask_all(gateway: Gateway, secret: str, model: str) -> list[str]:
    """Both clients, whole and streamed; what each was told."""
    by_openai = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
    by_anthropic = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)
    ask: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": MOST}
    whole = by_openai.chat.completions.create(**ask)
    chunks = list(by_openai.chat.completions.create(**ask, stream=True))
    message = by_anthropic.messages.create(**ask)
    with by_anthropic.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    texts: list[Any] = [message.content[0], streamed.content[0]]
    return [
        str(whole.choices[0].message.content),
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        *(block.text for block in texts),
    ]


def test_every_call_is_stored_with_texts_model_time_tokens_and_money(
    gateway: Gateway, secret: str, writer: Writer, pg: Connection, tenant: int, model: str
) -> None:
    """S0-03, S2-50: nobody wrote a line of logging for it."""
    told = ask_all(gateway, secret, model)
    columns = "request_model, input_tokens, output_tokens, cost_nanousd, status, is_stream, duration_ns > 0"
    spans = stored(gateway, writer, pg, columns)
    of_input, of_output = PRICES[model]
    cost = 3 * of_input + MOST * of_output
    assert spans == [(model, 3, MOST, cost, "ok", is_stream, True) for is_stream in (False, True) * 2]
    places = stored(gateway, writer, pg, "block_id, start::date, block_slot")
    contents = [read_content(pg, tenant, *place) for place in places]
    assert all("one two three" in str(given) for given, _ in contents)
    answers = [json.dumps(json.loads(str(answered))) for _, answered in contents]
    assert [text.strip() in answer for text, answer in zip(told, answers, strict=True)] == [True] * 4


def test_failed_calls_are_stored_too(gateway: Gateway, secret: str, writer: Writer, pg: Connection, model: str) -> None:
    """S0-09: with why they failed."""
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
    for fault in FAULTS:
        messages: list[Any] = [{"role": "user", "content": f"[[simulate {fault}]] hello"}]
        with pytest.raises(openai.APIStatusError) as failed:
            client.chat.completions.create(model=model, messages=messages, max_tokens=MOST)
        assert failed.value.response.headers["x-llmobs-reason"].startswith("provider_")
    spans = stored(gateway, writer, pg, "status, error_type <> '', request_model")
    assert len(spans) >= len(FAULTS)
    assert set(spans) == {("failed", True, model)}


def test_gateways_keep_nothing_of_their_own(
    gateway: Gateway,
    tmp_path: Path,
    migrated: Stores,
    valkey_url: str,
    world: World,
    tenant: int,
    secret: str,
) -> None:
    """S3-35: what one gateway spent another cannot spend again; keys and models are everyone's."""
    # One call costs 3 x 150 + 40 x 600 nano-USD: there is nearly, but not quite, room for two.
    world.budget(tenant, limit_nanousd=2 * (3 * 150 + MOST * 600) - 1)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    body = {"model": GPT, "messages": HELLO, "max_tokens": MOST}
    with running(tmp_path / "other", migrated.database_url, valkey_url) as other:
        other.wait_for_config(world.version())
        answers = [
            httpx.post(f"{one.url}/v1/chat/completions", json=body, headers={"x-api-key": secret})
            for one in (gateway, other)
        ]
        gateway.wait_until(lambda: gateway.is_quiet() and other.is_quiet(), "every call has ended")
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["x-llmobs-reason"] == "budget_exhausted"
