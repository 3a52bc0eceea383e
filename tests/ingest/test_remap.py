"""Re-mapping: a better adapter reads the past again; the difference is shown first, then every sum follows.

Of the pains: history that keeps what an old mapping made of it (23), usage mapped wrongly and found out later (14, 16).
"""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import msgspec
import psycopg
import pytest
from django.core.management import call_command
from msgspec.structs import replace

from llmobs.budgets import definition
from llmobs.budgets.ledger import Fold
from llmobs.budgets.spend import count_new_budgets
from llmobs.core.env import Secrets
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.ingest import placing
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import adapters, genai, whom
from llmobs.ingest.otlp import decode as decoding
from llmobs.ingest.raw_bodies import forget_user, kept, let_go
from llmobs.ingest.remap import Difference, Remap
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Config, Translator
from llmobs.ops.verify import verify
from llmobs.pricing import book
from llmobs.rollups.compact import compact_all
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version
from tests.budgets.made import make_budget
from tests.ingest.making import START_NS, make_tenant
from tests.ingest.otlp.sent import pairs
from tests.ingest.repricings import totals

Connection = psycopg.Connection[Any]
SECRETS = Secrets("secret", (), b"k" * 32, "", "", "")
SINCE, UNTIL = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 1_000_000,
    "gen_ai.usage.output_tokens": 0,
    "gen_ai.usage.cache_read.input_tokens": 600_000,
    "user.id": "ada",
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]',
}
# gpt-4o-mini: 0.15 USD per million input tokens, 0.075 cached (genai-prices).
WHOLE, CACHED = 150_000_000, 105_000_000


@pytest.fixture(autouse=True, params=[1, 1000], ids=["details beside", "details in rows"])
def fewest_together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "FEWEST_TOGETHER", request.param)


def config(conn: Connection) -> Config:
    return Config.of(config_version(conn), roster.load(conn), book.load(conn), definition.load(conn), SECRETS)


def sent(*attributes: dict[str, Any], trace: bytes | None = None, parent: bytes | None = None) -> OtlpBody:
    trace_id = trace or new_trace_id()
    spans = []
    for number, given in enumerate(attributes):
        span = {
            "traceId": trace_id.hex(),
            "spanId": new_span_id().hex(),
            "name": "chat",
            "startTimeUnixNano": str(START_NS + number),
            "endTimeUnixNano": str(START_NS + 10**9),
            "attributes": pairs(given),
        }
        spans.append(span if parent is None else {**span, "parentSpanId": parent.hex()})
    scoped = {"scope": {"name": "lib", "version": "1.0"}, "spans": spans}
    body = msgspec.json.encode({"resourceSpans": [{"scopeSpans": [scoped]}]})
    return OtlpBody(1, 7, START_NS + 2 * 10**9, "application/json", body)


def write(conn: Connection, *bodies: OtlpBody) -> None:
    """As the writer does it."""
    translator = Translator(config(conn))
    for body in bodies:
        piece = translator.piece(Found("gateway-1", abs(hash(body.body)), body), START_NS)
        batch = Batch(spans=piece.spans, prices=piece.prices, raw_bodies=piece.raw_bodies)
        commit_batch(conn, batch, translator.config.budgets)


@pytest.fixture
def tenant(pg: Connection) -> Connection:
    make_tenant(pg)
    pg.execute("UPDATE tenants_tenant SET raw_body_days = 7")
    return pg


@pytest.fixture
def worse() -> Iterator[pytest.MonkeyPatch]:
    """An adapter from before: it knew nothing of cached tokens."""
    with pytest.MonkeyPatch.context() as patch:
        known = {name: field for name, field in genai.COUNTS.items() if field != "cache_read"}
        patch.setattr(genai, "COUNTS", known)
        patch.setattr(genai, "EVERY_NAME", dataclasses.replace(genai.EVERY_NAME, counts=tuple(known)))
        patch.setattr(decoding, "shape_of", lambda names, scope_name: None)  # nothing of it is remembered
        patch.setattr(adapters, "GEN_AI", adapters.Adapter(2, "gen_ai", 0))
        yield patch


def remap(conn: Connection) -> Remap:
    return Remap(config(conn), [1], SINCE, UNTIL)


def applied(conn: Connection, folds: list[Fold] | None = None) -> Difference:
    return remap(conn).apply(conn, (folds if folds is not None else []).extend)


def no_difference(conn: Connection) -> None:
    assert [str(d) for d in verify(conn).differences] == []


def costs(conn: Connection) -> tuple[int, int, int, int]:
    """By span, bill, trace and roll-up."""

    def one(query: str) -> int:
        row = conn.execute(query).fetchone()
        assert row is not None
        return int(row[0] or 0)

    return (
        one("SELECT sum(cost_nanousd) FROM span"), one("SELECT sum(cost_nanousd) FROM bill"),
        one("SELECT sum(cost_nanousd) FROM trace"),
        one("SELECT (SELECT COALESCE(sum(cost_nanousd), 0) FROM rollup_delta) "
            "+ (SELECT COALESCE(sum(cost_nanousd), 0) FROM rollup_minute)"),
    )  # fmt: skip


def test_the_difference_is_shown_first_and_changes_nothing(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    write(tenant, sent(CHAT), sent({name: CHAT[name] for name in CHAT if "cache" not in name}))
    worse.undo()
    before = totals(tenant)
    found = remap(tenant).look(tenant)
    assert (found.bodies, found.read, found.changed, found.newer, found.absent) == (2, 2, 1, 1, 0)
    assert (found.nanousd, found.begin_to_count, found.count_no_more) == (CACHED - WHOLE, 0, 0)
    ((_, _, model), was, will) = found.cells()[0]
    assert (model, was, will) == ("gpt-4o-mini", WHOLE, CACHED)
    assert "cache_read_input_tokens" in found.columns
    assert totals(tenant) == before


def test_every_sum_follows_and_a_second_run_finds_nothing(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    write(tenant, sent(CHAT, CHAT), sent(CHAT))
    compact_all(tenant)
    worse.undo()
    assert costs(tenant) == (3 * WHOLE,) * 4
    assert applied(tenant).changed == 3
    assert costs(tenant) == (3 * CACHED,) * 4
    no_difference(tenant)
    compact_all(tenant)
    no_difference(tenant)
    again = applied(tenant)
    assert (again.changed, again.newer, again.nanousd) == (0, 0, 0)
    bills = tenant.execute("SELECT kind, reason, sum(requests) FROM bill GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
    assert [(kind, int(requests)) for kind, _, requests in bills] == [
        ("measured", 3),
        ("measured", 3),
        ("reversal", -3),
    ]


def test_what_was_repriced_since_is_taken_back_too(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    from tests.ingest.repricings import DOUBLE, Runs, book_with, make

    write(tenant, sent(CHAT))
    url = tenant.info.dsn + f" password={tenant.info.password}" if tenant.info.password else tenant.info.dsn
    Runs(url).apply(make(tenant), book_with(DOUBLE))
    worse.undo()
    assert applied(tenant).changed == 1
    no_difference(tenant)
    assert costs(tenant)[1:] == (CACHED,) * 3


def test_a_call_that_was_none_begins_to_count_and_its_parent_counts_no_more(
    tenant: Connection, worse: pytest.MonkeyPatch
) -> None:
    read = adapters.read

    def blind(span: Any, start_ns: int) -> Any:
        found = read(span, start_ns)
        if span.attributes.get("inner"):
            found.is_call = False
        return found

    worse.setattr(adapters, "read", blind)
    body = sent(CHAT)
    outer = bytes.fromhex(msgspec.json.decode(body.body)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"])
    trace = bytes.fromhex(msgspec.json.decode(body.body)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"])
    write(tenant, body, sent(CHAT | {"inner": True}, trace=trace, parent=outer))
    worse.undo()
    found = applied(tenant)
    # The inner one is the innermost of the chain now: it bears the bill, the outer one is taken back.
    assert (found.begin_to_count, found.count_no_more) == (1, 1)
    rows = tenant.execute("SELECT parent_span_id IS NULL, is_counted FROM span ORDER BY 1").fetchall()
    assert rows == [(False, True), (True, False)]
    no_difference(tenant)
    assert costs(tenant) == (CACHED,) * 4


def test_light_changes_write_no_bill(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    given = {name: CHAT[name] for name in CHAT if "cache" not in name}
    write(tenant, sent(given))
    worse.undo()
    bills = tenant.execute("SELECT count(*) FROM bill").fetchone()
    found = applied(tenant)
    assert (found.changed, found.newer) == (0, 1)
    assert tenant.execute("SELECT count(*) FROM bill").fetchone() == bills
    assert tenant.execute("SELECT adapter FROM span").fetchall() == [(adapters.GEN_AI.code,)]


def test_people_and_names_of_a_trace_follow(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    real = whom.attribute

    def nobody(*given: Any) -> Any:
        return replace(real(*given), user_id="wrong")

    worse.setattr(decoding, "attribute", nobody)
    write(tenant, sent(CHAT))
    worse.undo()
    applied(tenant)
    assert tenant.execute("SELECT user_id FROM trace").fetchall() == [("ada",)]
    assert tenant.execute(
        "SELECT user_id FROM rollup_user_day GROUP BY 1 HAVING sum(cost_nanousd) <> 0"
    ).fetchall() == [("ada",)]
    no_difference(tenant)


def test_content_is_written_into_its_place(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    worse.setattr(genai, "EVERY_NAME", dataclasses.replace(genai.EVERY_NAME, input=()))
    write(tenant, sent(CHAT | {"gen_ai.output.messages": '[{"role":"assistant","parts":[]}]'}, CHAT))
    worse.undo()
    applied(tenant)
    assert tenant.execute("SELECT count(*) FROM span WHERE preview = 'hello' AND block_id IS NOT NULL").fetchone() == (
        2,
    )
    assert applied(tenant).changed == 0


def test_a_run_that_is_killed_is_gone_on_with(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    write(tenant, *(sent(CHAT) for _ in range(4)))
    worse.undo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmobs.ingest.remap.SPANS_PER_LOT", 1)
        lots = remap(tenant)
        seen = 0

        def dying(conn: Any, prices: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == 3:
                raise KeyboardInterrupt

        patch.setattr("llmobs.ingest.remap.remember", dying)
        with pytest.raises(KeyboardInterrupt):
            lots.apply(tenant, lambda _: None)
    no_difference(tenant)
    assert costs(tenant)[0] == 2 * CACHED + 2 * WHOLE
    assert applied(tenant).changed == 2
    assert costs(tenant) == (4 * CACHED,) * 4
    no_difference(tenant)


def test_budgets_learn_it_and_the_ledger_is_told(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    make_budget(tenant, 1, limit_nanousd=10 * WHOLE)
    with tenant.transaction():
        count_new_budgets(tenant, START_NS)
    write(tenant, sent(CHAT))
    worse.undo()
    folds: list[Fold] = []
    applied(tenant, folds)
    spent = tenant.execute("SELECT spent FROM budget_spend WHERE spent <> 0").fetchall()
    assert spent == [(CACHED,)]
    assert CACHED in {fold.base for fold in folds}
    no_difference(tenant)


# ---------------------------------------------------------------- the bodies


def stored(conn: Connection) -> int:
    return len(list(kept(conn, 1, SINCE, UNTIL)))


def test_the_same_entry_is_kept_once(tenant: Connection) -> None:
    body = sent(CHAT)
    write(tenant, body)
    write(tenant, body)
    assert stored(tenant) == 1
    (raw,) = kept(tenant, 1, SINCE, UNTIL)
    assert raw.entry() == body


@pytest.mark.parametrize("content", ["redacted", "hash", "none"])
def test_no_other_policy_than_full_keeps_a_body(tenant: Connection, content: str) -> None:
    """PAINS 45: what may not be stored is stored nowhere."""
    write(tenant, sent(CHAT))
    tenant.execute("UPDATE tenants_tenant SET content = %s", (content,))
    write(tenant, sent(CHAT))
    assert stored(tenant) == 1  # that from before
    assert remap(tenant).look(tenant).bodies == 0
    assert let_go(tenant) == 1
    assert stored(tenant) == 0


def test_bodies_go_after_their_tenants_days(tenant: Connection) -> None:
    write(tenant, sent(CHAT))
    assert let_go(tenant) == 0
    tenant.execute("UPDATE raw_body SET received_at = now() - interval '8 days'")
    assert let_go(tenant) == 1


def test_none_is_kept_unless_a_tenant_says_so(pg: Connection) -> None:
    make_tenant(pg)
    write(pg, sent(CHAT))
    assert stored(pg) == 0


def test_bodies_of_a_person_are_forgotten(tenant: Connection) -> None:
    write(tenant, sent(CHAT), sent(CHAT | {"user.id": "eve"}))
    assert forget_user(tenant, 1, "ada") == 1
    assert [raw.users for raw in kept(tenant, 1, SINCE, UNTIL)] == [("eve",)]


def test_a_span_that_is_not_stored_any_more_does_not_come_back(tenant: Connection) -> None:
    write(tenant, sent(CHAT))
    tenant.execute("DELETE FROM span")
    assert (remap(tenant).look(tenant).absent, applied(tenant).changed) == (1, 0)
    assert tenant.execute("SELECT count(*) FROM span").fetchone() == (0,)


def test_a_span_whose_content_was_erased_stays_as_it_is(tenant: Connection, worse: pytest.MonkeyPatch) -> None:
    write(tenant, sent(CHAT | {"app.note": "of ada"}))
    worse.undo()
    tenant.execute("UPDATE span SET attributes = '{}', preview = ''")
    tenant.execute("DELETE FROM payload_block")
    found = applied(tenant)
    assert (found.absent, found.changed, found.newer) == (1, 0, 0)
    assert tenant.execute("SELECT attributes, preview FROM span").fetchall() == [({}, "")]


def test_the_command_shows_and_applies(tenant: Connection, worse: pytest.MonkeyPatch, valkey_url: str) -> None:
    write(tenant, sent(CHAT))
    worse.undo()
    out = StringIO()
    call_command("remap", "--from", SINCE.isoformat(), "--tenant", "tenant-1", stdout=out)
    assert "1 spans would be changed" in out.getvalue()
    assert "cost: -0.045 USD" in out.getvalue()
