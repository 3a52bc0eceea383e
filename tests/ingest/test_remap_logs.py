"""Reading the past again keeps what came by logs: content that was joined, on whichever side, and what comes later."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from llmobs.core.clock import now_ns
from llmobs.ingest.entries import OtlpLogs
from llmobs.ingest.joining import join_all
from llmobs.ingest.log_records import write_records
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Translator
from llmobs.ops.verify import verify
from llmobs.spans.blocks import read_content
from tests.ingest.making import START_NS
from tests.ingest.otlp.test_logs import JSON, record, request
from tests.ingest.test_remap import CHAT, applied, config, sent, tenant, worse, write

Connection = psycopg.Connection[Any]
SILENT = {name: value for name, value in CHAT.items() if name != "gen_ai.input.messages"}
EVENTS = {"input": "gen_ai.user.message", "output": "gen_ai.choice"}
BODIES: dict[str, Any] = {"input": {"content": "asked"}, "output": {"index": 0, "message": {"content": "told"}}}

__all__ = ["tenant", "worse"]  # fixtures


def log(conn: Connection, *sides: str) -> None:
    """Records of the only span, as they come and are joined."""
    (trace_id, span_id) = conn.execute("SELECT trace_id, span_id FROM span").fetchall()[0]
    own = {"traceId": bytes(trace_id).hex(), "spanId": bytes(span_id).hex()}
    records = [{**record(EVENTS[side], BODIES[side], START_NS + 5), **own} for side in sides]
    entry = OtlpLogs(1, 7, now_ns(), JSON, request(*records))
    piece = Translator(config(conn)).piece(Found("gateway-1", len(sides), entry), START_NS)
    with conn.transaction():
        write_records(conn, piece.log_records)
    join_all(conn, datetime.now(UTC) + timedelta(minutes=1))


def texts(conn: Connection) -> list[str | None]:
    """What the only span's content says, in and out."""
    block_id, slot, start = conn.execute("SELECT block_id, block_slot, start FROM span").fetchall()[0]
    content = read_content(conn, 1, block_id, start.astimezone(UTC).date(), slot)
    return [None if side is None else json.loads(side)[0]["parts"][0]["content"] for side in content]


@pytest.mark.parametrize(
    ("given", "sides", "due"),
    [
        (SILENT, ("input", "output"), ["asked", "told"]),
        (SILENT, ("output",), [None, "told"]),
        (CHAT, ("output",), ["hello", "told"]),
        (CHAT, ("input", "output"), ["hello", "told"]),
    ],
)
def test_what_came_by_logs_stays(
    tenant: Connection, worse: pytest.MonkeyPatch, given: dict[str, Any], sides: tuple[str, ...], due: list[str | None]
) -> None:
    write(tenant, sent(given))
    log(tenant, *sides)
    assert texts(tenant) == due
    shown = tenant.execute("SELECT preview FROM span").fetchall()
    worse.undo()
    assert applied(tenant).changed == 1
    assert texts(tenant) == due
    assert tenant.execute("SELECT preview FROM span").fetchall() == shown
    assert verify(tenant).differences == []
    assert applied(tenant).changed == 0


def test_what_comes_by_logs_later_is_joined_still(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    write(tenant, sent(SILENT))
    log(tenant, "input")
    worse.undo()
    applied(tenant)
    log(tenant, "output")
    assert texts(tenant) == ["asked", "told"]


def test_content_that_was_erased_does_not_come_back_by_reading_again(
    tenant: Connection, worse: pytest.MonkeyPatch
) -> None:
    write(tenant, sent(CHAT))
    log(tenant, "output")
    tenant.execute("DELETE FROM payload_block")
    worse.undo()
    assert applied(tenant).absent == 1
    log(tenant, "input")
    assert texts(tenant) == [None, None]
