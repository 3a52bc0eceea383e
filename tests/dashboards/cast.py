"""A cast: Alice is of Acme, Charlie of Globex, the operator sees both; and Acme's traffic of three days."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.test import Client

from llmobs.budgets.models import Budget
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.rollups.compact import compact_all
from llmobs.tenants.models import Key, Membership, Tenant, User
from tests.dashboards.seed import Seeder, seeder


@dataclass(frozen=True)
class Cast:
    """Who is there, and what Acme's traffic was."""

    acme: Tenant
    globex: Tenant
    key: Key
    operator: User
    alice: User
    charlie: User
    seeder: Seeder
    trace_id: str
    now: datetime

    def as_(self, user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client


def without_traffic(pg: "psycopg.Connection[Any]") -> Cast:
    """Tenants and people without any traffic."""
    now = datetime.now(UTC)
    acme = Tenant.objects.create(slug="acme", name="Acme", time_zone="Europe/Berlin", content="full")
    globex = Tenant.objects.create(slug="globex", name="Globex")
    key = Key.objects.create(tenant=acme, name="prod", prefix="llm_abc", secret_hash="0" * 64)
    operator = User.objects.create_superuser("operator", "operator@example.com", "x")
    alice, charlie = (User.objects.create_user(name, f"{name}@example.com", "x") for name in ("alice", "charlie"))
    Membership.objects.create(user=alice, tenant=acme)
    Membership.objects.create(user=charlie, tenant=globex)
    return Cast(acme, globex, key, operator, alice, charlie, seeder(pg, acme.pk, key.pk, now), "", now)


def with_traffic(empty_cast: Cast, pg: "psycopg.Connection[Any]") -> Cast:
    """The same with traffic: most of it compacted, the last hour still as deltas; two budgets, one used up."""
    counted_at = empty_cast.now - timedelta(days=6)
    for name, limit, scope in (("monthly", 3000, {}), ("tight", 1, {"feature": "code-review"})):
        Budget.objects.create(
            tenant=empty_cast.acme,
            name=name,
            window="total",
            limit_nanousd=limit * NANOUSD_PER_USD,
            scope=scope,
            counted_at=counted_at,
        )
    made = empty_cast.seeder
    made.commit(made.days(3, 0.4))
    compact_all(pg)
    made.commit(made.spike(20, 5, 0.5))
    trace_id, spans = made.agent_trace(4)
    made.commit(spans)
    return Cast(**{**empty_cast.__dict__, "trace_id": trace_id})
