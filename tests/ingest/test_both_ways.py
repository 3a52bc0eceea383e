"""Gateway and OTLP together: whatever comes first, however it is split, the bills are the same."""

from itertools import count
from typing import Any

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.ops.verify import verify
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from tests.ingest.making import START_NS, call, commit, make_tenant

Connection = psycopg.Connection[Any]
SDK = "com.anthropic.sdk.python"
tenants = count(1)


class Scene:
    """Reports of one tenant; each call has a usage of its own, so that only what is meant to match does."""

    def __init__(self) -> None:
        self.tenant_id = next(tenants)
        self.spans: dict[str, Span] = {}

    def add(self, name: str, *, trace: str, usage: int | None, of: str = "", at_s: float = 0, **changes: Any) -> None:
        """`usage`: input tokens; `of`: the parent's name; `at_s`: when it began."""
        self.spans[name] = call(
            self.tenant_id,
            trace_id=trace.encode().ljust(16, b"."),
            span_id=name.encode().ljust(8, b"."),
            parent_span_id=of.encode().ljust(8, b".") if of else None,
            start_ns=START_NS + int(at_s * NS_PER_SECOND),
            usage=None if usage is None else Usage(uncached_input=usage, output=5),
            **changes,
        )

    def attempt(self, name: str, response_id: str, usage: int | None, of: str = "", trace: str = "") -> None:
        self.add(
            name, trace=trace or name, of=of, usage=usage, response_id=response_id, source=SOURCE_GATEWAY, scope_name=""
        )

    def call_span(self, name: str, response_id: str, degraded: str, of: str = "", attempts: int = 1) -> None:
        """The gateway's own span over attempts, or of an answer without any."""
        self.add(
            name, trace=name, of=of, usage=None, response_id=response_id, source=SOURCE_GATEWAY, scope_name="",
            is_call=attempts == 0, cost_nanousd=0 if attempts == 0 else None, status=semconv.DEGRADED,
            attributes={"llmobs.attempts": attempts, "llmobs.degraded": degraded},
        )  # fmt: skip


def scene() -> tuple[Scene, set[str]]:
    """Everything at once, and the names of the spans that bear a bill."""
    made = Scene()
    # With trace context: the application's span is the parent of the gateway's.
    made.add("app1", trace="one", usage=1001, response_id="r1")
    made.attempt("gate1", "r1", 1001, of="app1", trace="one")
    # Without, on a machine whose clock is 20 s late.
    made.attempt("gate2", "r2", 1002)
    made.add("app2", trace="app2", usage=1002, response_id="r2", at_s=20)
    # No gateway: an instrumentation and the SDK's own span inside it; the same in two traces, where one has no id.
    made.add("lib3", trace="three", usage=1003, response_id="r3")
    made.add("sdk3", trace="three", of="lib3", usage=1003, response_id="r3", scope_name=SDK)
    made.add("lib4", trace="lib4", usage=1004)
    made.add("sdk4", trace="sdk4", usage=1004, response_id="r4", scope_name=SDK, at_s=0.05)
    # The application's own response cache gives one id to several answers.
    for number in range(3):
        made.add(f"app5{number}", trace=f"app5{number}", usage=1005, response_id="r5", at_s=2 * number)
    # A first attempt failed, a second one answered; the application knows nothing of either.
    made.call_span("call6", "r6", "fallback")
    made.attempt("fail6", "", None, of="call6", trace="call6")
    made.attempt("gate6", "r6", 1006, of="call6", trace="call6")
    made.add("app6", trace="app6", usage=1006, response_id="r6")
    # Every attempt failed: a static text and an old answer, each under an id that no attempt had.
    for number, degraded in ((7, "static"), (8, "stale_cache")):
        made.call_span(f"call{number}", f"r{number}", degraded)
        made.attempt(f"fail{number}", "", None, of=f"call{number}", trace=f"call{number}")
        made.add(f"app{number}", trace=f"app{number}", usage=1000 + number, response_id=f"r{number}")
    # An answer from the gateway's cache: no attempt at all.
    made.call_span("call9", "r9", "", attempts=0)
    made.add("app9", trace="app9", usage=1009, response_id="r9")
    return made, {"gate1", "gate2", "lib3", "lib4", "app50", "app51", "app52", "gate6"}


def billed(conn: Connection, tenant_id: int) -> dict[str, tuple[int, int]]:
    """Net requests and cost of each span that has any."""
    rows = conn.execute(
        "SELECT span_id, sum(requests), sum(cost_nanousd) FROM bill WHERE tenant_id = %s GROUP BY span_id "
        "HAVING sum(requests) <> 0 OR sum(cost_nanousd) <> 0",
        (tenant_id,),
    ).fetchall()
    return {bytes(span_id).decode().rstrip("."): (int(n), int(cost)) for span_id, n, cost in rows}


@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_order_and_any_batches_come_to_the_same_bills(pg: Connection, data: st.DataObject) -> None:
    """PAINS 26: each provider response is billed once, failed attempts beside it not at all."""
    made, expected = scene()
    make_tenant(pg, made.tenant_id)
    waiting = data.draw(st.permutations(list(made.spans)))
    while waiting:
        size = data.draw(st.integers(1, len(waiting)))
        batch, waiting = waiting[:size], waiting[size:]
        commit(pg, *(made.spans[name] for name in batch))
    assert billed(pg, made.tenant_id) == {name: (1, made.spans[name].cost_nanousd) for name in expected}


def test_what_is_told_again_later_changes_nothing(pg: Connection) -> None:
    made, expected = scene()
    make_tenant(pg, made.tenant_id)
    commit(pg, *made.spans.values())
    again, _ = scene()
    for span in reversed(again.spans.values()):
        span.tenant_id = made.tenant_id
        commit(pg, span)
    assert set(billed(pg, made.tenant_id)) == expected
    assert verify(pg).differences == []
