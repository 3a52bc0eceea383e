"""The content policy on every way in: whatever kind of entry brings a text, no table keeps what the policy forbids.

PAINS 45: prompts stored although that was switched off; 48: bytes of media in the store. The test knows the ways from
the type of journal entries itself: a new one fails it until it is tried here.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
import psycopg
import pytest
import zstandard
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from psycopg import sql

from llmobs.budgets import definition
from llmobs.core.env import Secrets
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.ingest import bounds, content, media, watch
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.ingest.entries import Begin, Braked, Called, End, Entry, NativeSpans, OtlpBody, OtlpLogs, Refused, UsedPrice
from llmobs.ingest.otlp import alike, remains
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Config, Translator
from llmobs.pricing import book
from llmobs.pricing.price import Price, Rates
from llmobs.spans.blocks import read_block
from llmobs.spans.details import read_details
from llmobs.tenants import roster
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import START_NS, begin, end, make_tenant
from tests.ingest.otlp.sent import pairs

Connection = psycopg.Connection[Any]
SECRETS = Secrets("secret", (), b"k" * 32, "", "", "")
PHRASE = "zebras gallop at midnight"
EMAIL = "ada.lovelace@example.com"
SAID = f"{PHRASE}, write to {EMAIL}"
PICTURE = b"\x89PNG" + bytes(range(200))
SHORT = "owls read"
URL = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
CONTENT = [{"type": "text", "text": SAID}, {"type": "image_url", "image_url": {"url": URL}}]
REQUEST = msgspec.json.encode({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": CONTENT}]})
ANSWER = msgspec.json.encode({"choices": [{"message": {"role": "assistant", "content": SAID}}]})
PARTS = msgspec.json.encode([{"role": "user", "parts": [{"type": "text", "content": SAID}, {"uri": URL}]}]).decode()


@dataclass(frozen=True)
class Way:
    """How a text may come in. `says`: it brings content at all."""

    entry: Entry
    begun: Begin | None = None
    says: bool = True


# Ways of one kind of entry, and the spans of each: so many that they share blocks.
FORMS = ("application/json", "application/x-protobuf")
MANY = 10
NOTES = {
    "app.note": SHORT,
    "chat_history": f"{SHORT} {EMAIL}",
    "logfire.msg": SHORT,
    "gen_ai.agent.name": EMAIL,
    f"of.{EMAIL}": 3,
}
NAMES = ("chat", "chat gpt-4o-mini", f"chat with {EMAIL}", SHORT)


def otlp(content_type: str = FORMS[0]) -> OtlpBody:
    spans = [otlp_span(number) for number in range(MANY)]
    body = msgspec.json.encode({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]})
    if content_type == FORMS[1]:  # as gRPC brings them too
        body = as_protobuf(spans)
    return OtlpBody(1, 7, START_NS + 2 * 10**9, content_type, body)


def otlp_span(number: int) -> dict[str, Any]:
    """Spans of a usual kind, which the compiled reader makes alike, among those with events."""
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.input.messages": PARTS,
        "gen_ai.output.messages": PARTS,
        **NOTES,
    }
    span = {
        "traceId": new_trace_id().hex(),
        "spanId": new_span_id().hex(),
        "name": NAMES[number % len(NAMES)],
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 10**9),
        "attributes": pairs(given),
    }
    if number % 2:
        return span
    more = {"gen_ai.tool.definitions": SAID, "gen_ai.unknown.prompt_text": SAID, "long": SAID * 4}
    told = {"exception.type": "ValueError", "exception.message": SAID, "exception.stacktrace": SHORT, "name": SHORT}
    event = {"name": "exception", "timeUnixNano": str(START_NS), "attributes": pairs(told)}
    other = {"name": SHORT, "timeUnixNano": str(START_NS), "attributes": pairs(NOTES)}
    status = {"code": 2, "message": f"{SHORT} {SAID}"}
    return {**span, "attributes": pairs(given | more), "events": [event, other], "status": status}


def as_protobuf(spans: list[dict[str, Any]]) -> bytes:
    request = ExportTraceServiceRequest()
    for span in spans:
        ids = {key: b64encode(bytes.fromhex(span[key])).decode() for key in ("traceId", "spanId")}
        scope = {"scope": {"name": "s"}, "spans": [span | ids]}
        json_format.ParseDict({"resourceSpans": [{"scopeSpans": [scope]}]}, one := ExportTraceServiceRequest())
        request.MergeFrom(one)
    return bytes(request.SerializeToString())


def logs() -> OtlpLogs:
    record = {
        "traceId": new_trace_id().hex(),
        "spanId": new_span_id().hex(),
        "eventName": "gen_ai.user.message",
        "timeUnixNano": str(START_NS),
        "attributes": pairs(NOTES),
        "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": f"{SHORT} {SAID} {URL}"}}]}},
    }
    body = msgspec.json.encode({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    return OtlpLogs(1, 7, START_NS + 2 * 10**9, "application/json", body)


def native() -> NativeSpans:
    return NativeSpans(1, 7, START_NS + 2 * 10**9, msgspec.json.encode([native_span(name) for name in NAMES]))


def native_span(name: str) -> dict[str, Any]:
    return {
        "trace_id": new_trace_id().hex(),
        "span_id": new_span_id().hex(),
        "name": name,
        "start": START_NS,
        "duration_ms": 5,
        "operation_name": "chat",
        "input": [{"role": "user", "content": CONTENT}],
        "output": SAID,
        "status": "error",
        "error_type": SHORT,
        "status_message": SHORT + SAID,
        "attributes": {**NOTES, "prompt": SAID, "nested": {"completion": [SAID, SHORT], SHORT: 1}},
    }


def called() -> Called:
    values: dict[str, Any] = dict.fromkeys(Called.__struct_fields__, "")
    values |= {
        "span_id": new_span_id(), "trace_id": new_trace_id(), "parent_span_id": None, "tenant_id": 1,
        "attribution": Attribution(key_id=7), "start_ns": START_NS, "duration_ns": 10**9, "ttft_ns": None,
        "is_stream": False, "status": "ok", "attempts": 2, "saved_input_tokens": 0, "saved_output_tokens": 0,
        "saved_nanousd": None, "finish_reasons": [], "request_body": REQUEST, "response_body": ANSWER,
        "is_truncated": False, "findings": [], "failed_attempts": 1, "name": f"chat {EMAIL}", "message": SHORT,
    }  # fmt: skip
    return Called(**values)


def refused() -> Refused:
    return Refused(
        span_id=new_span_id(), trace_id=new_trace_id(), parent_span_id=None, tenant_id=1,
        attribution=Attribution(key_id=7), start_ns=START_NS, duration_ns=1, name="chat", operation_name="chat",
        provider_name="openai", request_model="gpt-4o-mini", reason="budget_exhausted", message="refused", details={},
    )  # fmt: skip


def ways() -> dict[type[Any], Way]:
    """One of each kind of entry."""
    begun, abandoned = begin(), begin()
    braked = Braked(
        "b", bytes(16), 1, Attribution(key_id=7), "m", "session", "gpt-4o-mini", "noted", START_NS, 0, "", {}
    )
    return {
        Begin: Way(abandoned, says=False),
        End: Way(end(begun, request_body=REQUEST, response_body=ANSWER), begun),
        Called: Way(called()),
        Refused: Way(refused(), says=False),
        Braked: Way(braked, says=False),
        UsedPrice: Way(UsedPrice(Price("openai", "m", "set price of 2026-01-01 #1", Rates(*[1] * 5))), says=False),
        OtlpBody: Way(otlp()),
        OtlpLogs: Way(logs()),
        NativeSpans: Way(native()),
    }


def stored(conn: Connection) -> str:
    """Everything that the database holds, blocks and kept bodies unpacked."""
    texts = []
    tables = conn.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    ).fetchall()
    for (table,) in tables:
        rows = conn.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))).fetchall()
        texts += [text for (text,) in rows]
    for (body,) in conn.execute("SELECT body FROM payload_block").fetchall():
        texts += [text for said in read_block(bytes(body)) for text in said if text]
    for (body,) in conn.execute("SELECT body FROM detail_block").fetchall():
        texts += [f"{detail.attributes.decode()} {detail.values()}" for detail in read_details(bytes(body))]
    for (body,) in conn.execute("SELECT body FROM raw_body").fetchall():
        texts.append(zstandard.ZstdDecompressor().decompress(bytes(body)).decode(errors="replace"))
    return "\n".join(texts)


def write(conn: Connection, way: Way, policy: str) -> str:
    make_tenant(conn, content=policy)
    conn.execute("UPDATE tenants_tenant SET raw_body_days = 7")
    config = Config.of(1, roster.load(conn), book.load(conn), definition.load(conn), SECRETS)
    piece = Translator(config).piece(Found("gateway-1", 0, way.entry, way.begun), START_NS + 10**9)
    batch = Batch(
        spans=piece.spans, prices=piece.prices, findings=piece.findings, braked=piece.braked,
        raw_bodies=piece.raw_bodies, log_records=piece.log_records,
    )  # fmt: skip
    commit_batch(conn, batch, config.budgets)
    return stored(conn)


def test_every_kind_of_entry_is_tried() -> None:
    assert set(ways()) == set(get_args(Entry))


@pytest.mark.parametrize("kind", get_args(Entry), ids=lambda kind: str(kind.__name__))
@pytest.mark.parametrize("policy", ["full", "redacted", "hash", "none"])
def test_no_table_keeps_what_the_policy_forbids(pg: Connection, kind: type[Any], policy: str) -> None:
    way = ways()[kind]
    found = write(pg, way, policy)
    is_kept = way.says and policy in ("full", "redacted")
    assert (PHRASE in found) == is_kept
    assert (SHORT in found) == (is_kept and kind is not End)  # of an attempt nothing is said but its messages
    assert (EMAIL in found) == (way.says and policy == "full")
    if kind is not OtlpBody or policy != "full":  # the body itself, where a tenant keeps it as it came
        assert b64encode(PICTURE).decode()[:60] not in found


@pytest.mark.parametrize("content_type", FORMS)
@pytest.mark.parametrize("policy", ["full", "redacted", "hash", "none"])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_many_spans_of_one_body_are_held_to_it_in_both_forms(
    pg: Connection, monkeypatch: pytest.MonkeyPatch, policy: str, content_type: str, is_compiled: bool
) -> None:
    """With the compiled module and without: what is kept in blocks, in rows, and as the traces' names."""
    if not is_compiled:
        for user in (alike, bounds, content, media, remains, watch):
            monkeypatch.setattr(user, "_compiled", None)
    found = write(pg, Way(otlp(content_type)), policy)
    assert (SHORT in found) == (policy in ("full", "redacted"))
    assert (EMAIL in found) == (policy == "full")
    names = {name for (name,) in pg.execute("SELECT name FROM span UNION SELECT name FROM trace").fetchall()}
    if policy in ("hash", "none"):
        assert names == {"chat", "chat gpt-4o-mini"}
    else:
        assert names == {name.replace(EMAIL, EMAIL if policy == "full" else "[EMAIL_1]") for name in NAMES}
    assert pg.execute("SELECT count(*) FROM detail_block").fetchone() == (1,)


@pytest.mark.parametrize("kind", [End, Called, OtlpBody, OtlpLogs, NativeSpans], ids=lambda kind: str(kind.__name__))
def test_a_picture_is_kept_by_reference_whatever_way_it_comes(pg: Connection, kind: type[Any]) -> None:
    assert f"media:image/png;bytes={len(PICTURE)};sha256=" in write(pg, ways()[kind], "full")
