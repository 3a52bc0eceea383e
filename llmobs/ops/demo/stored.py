"""What is stored of the run, read straight from PostgreSQL: what the summary prints and the checks compare."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from llmobs.core.semconv import REFUSED, SOURCE_GATEWAY, SOURCE_OTLP

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused call with what the budget stood at, in nano-USD."""

    tenant: str
    budget: str
    limit: int
    base: int
    pending: int
    held: int
    requested: int

    @property
    def was_due(self) -> bool:
        """Serving it could have passed the limit."""
        return self.base + self.pending + self.held + self.requested > self.limit


@dataclass(frozen=True, slots=True)
class BilledResponse:
    """A response of the run and the sum of its bills."""

    tenant: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int | None
    bills: int
    is_estimated: bool


def progress(conn: Connection, since: datetime) -> tuple[int, int]:
    """Gateway spans since the run began, and all spans that came by OTLP, whenever they began.

    A call of several attempts has several: that all are there shows in the bills.
    """
    row = conn.execute(
        "SELECT count(*) FILTER (WHERE source = %s AND start >= %s), count(*) FILTER (WHERE source = %s) FROM span",
        (SOURCE_GATEWAY, since, SOURCE_OTLP),
    ).fetchone()
    return row if row else (0, 0)


def bills(conn: Connection, since: datetime) -> int:
    """Bills of the gateway's calls of the run."""
    row = conn.execute(
        "SELECT count(*) FROM bill WHERE source = %s AND begin_at >= %s", (SOURCE_GATEWAY, since)
    ).fetchone()
    return int(row[0]) if row else 0


def gateway_spans(conn: Connection, since: datetime) -> dict[tuple[str, bool], int]:
    """Spans of the run by tenant and whether the call was refused; of a call of several attempts its own alone."""
    rows = conn.execute(
        "SELECT t.slug, s.status = %s, count(*) - COALESCE(sum((s.attributes->>'llmobs.attempts')::int), 0) "
        "FROM span s JOIN tenants_tenant t ON t.id = s.tenant_id "
        "WHERE s.source = %s AND s.start >= %s GROUP BY 1, 2",
        (REFUSED, SOURCE_GATEWAY, since),
    ).fetchall()
    return {(slug, is_refused): count for slug, is_refused, count in rows}


def billed_responses(conn: Connection, since: datetime) -> dict[str, BilledResponse]:
    """By response id: what the gateway's calls of the run were billed at, reversals and adjustments included."""
    rows = conn.execute(
        "SELECT b.response_id, t.slug, sum(b.requests), "
        "sum(b.uncached_input_tokens + b.cache_read_input_tokens + b.cache_write_5m_input_tokens "
        "    + b.cache_write_1h_input_tokens), "
        "sum(b.output_tokens), sum(b.cost_nanousd), count(*), bool_or(b.kind <> 'measured') "
        "FROM bill b JOIN tenants_tenant t ON t.id = b.tenant_id "
        "WHERE b.source = %s AND b.begin_at >= %s GROUP BY b.tenant_id, b.response_id, t.slug",
        (SOURCE_GATEWAY, since),
    ).fetchall()
    return {
        row[0]: BilledResponse(row[1], int(row[2]), int(row[3]), int(row[4]), _int(row[5]), row[6], row[7])
        for row in rows
    }


def cost_by_tenant(conn: Connection, since: datetime, source: int) -> dict[str, int]:
    """Nano-USD of the bills that began since then, adjustments included."""
    rows = conn.execute(
        "SELECT t.slug, COALESCE(sum(b.cost_nanousd), 0) FROM bill b JOIN tenants_tenant t ON t.id = b.tenant_id "
        "WHERE b.source = %s AND b.begin_at >= %s GROUP BY t.slug",
        (source, since),
    ).fetchall()
    return {slug: int(cost) for slug, cost in rows}


def cost_of_tenant(conn: Connection, slug: str) -> int:
    """Nano-USD of all bills of a tenant, whenever; 0 if there is no such tenant."""
    row = conn.execute(
        "SELECT COALESCE(sum(b.cost_nanousd), 0) FROM bill b JOIN tenants_tenant t ON t.id = b.tenant_id "
        "WHERE t.slug = %s",
        (slug,),
    ).fetchone()
    return int(row[0]) if row else 0


def spans_of_tenant(conn: Connection, slug: str) -> int:
    row = conn.execute(
        "SELECT count(*) FROM span s JOIN tenants_tenant t ON t.id = s.tenant_id WHERE t.slug = %s", (slug,)
    ).fetchone()
    return int(row[0]) if row else 0


def refusals(conn: Connection, since: datetime) -> list[Refusal]:
    """Every refusal of the run by a budget, with what was known when it was spoken."""
    rows = conn.execute(
        "SELECT t.slug, s.attributes FROM span s JOIN tenants_tenant t ON t.id = s.tenant_id "
        "WHERE s.source = %s AND s.start >= %s AND s.status = %s AND s.error_type = 'budget_exhausted'",
        (SOURCE_GATEWAY, since, REFUSED),
    ).fetchall()
    return [_refusal(slug, attributes) for slug, attributes in rows]


def _refusal(slug: str, attributes: dict[str, Any]) -> Refusal:
    def figure(name: str) -> int:
        return int(attributes[f"llmobs.refusal.{name}"])

    return Refusal(
        tenant=slug,
        budget=str(attributes["llmobs.refusal.budget"]),
        limit=figure("limit"),
        base=figure("base"),
        pending=figure("pending"),
        held=figure("held"),
        requested=figure("requested"),
    )


def overspent_budgets(conn: Connection) -> list[str]:
    """Budgets that block and whose durable spend is above their limit."""
    rows = conn.execute(
        "SELECT t.slug || '/' || b.name || ' ' || s.value FROM budget_spend s "
        "JOIN budgets_budget b ON b.id = s.budget_id AND b.revision = s.revision "
        "JOIN tenants_tenant t ON t.id = b.tenant_id "
        "WHERE b.action = 'block' AND b.is_active AND s.spent > COALESCE(b.limit_nanousd, b.limit_tokens)"
    ).fetchall()
    return [name for (name,) in rows]


def p95_ms(conn: Connection, since: datetime) -> Decimal:
    """95th percentile of the served gateway calls of the run, exact from raw spans, in milliseconds."""
    row = conn.execute(
        "SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ns) FROM span "
        "WHERE source = %s AND start >= %s AND is_call AND status <> %s",
        (SOURCE_GATEWAY, since, REFUSED),
    ).fetchone()
    duration_ns = int(row[0]) if row and row[0] is not None else 0
    return (Decimal(duration_ns) / 1_000_000).quantize(Decimal("0.01"))


def judgements(conn: Connection, since: datetime) -> dict[str, int]:
    """Judgements of the run's calls by state."""
    rows = conn.execute(
        "SELECT state, count(*) FROM evals_judgement WHERE start >= %s GROUP BY state", (since,)
    ).fetchall()
    return dict(rows)


def dead_letters(conn: Connection) -> int:
    row = conn.execute("SELECT count(*) FROM dead_letter").fetchone()
    return int(row[0]) if row else 0


def _int(value: Decimal | None) -> int | None:
    return None if value is None else int(value)
