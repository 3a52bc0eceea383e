"""Who may call, as the gateway reads it."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from llmobs.core.clock import ns_from_utc
from llmobs.tenants.roster import load
from tests.gateway.world import World


def world(pg: psycopg.Connection) -> World:
    return World(pg, None)  # type: ignore[arg-type]  # no ledger is asked here


def test_a_key_is_found_by_the_hash_of_its_secret(pg: psycopg.Connection) -> None:
    tenant_id = world(pg).tenant("acme", content="none")
    key_id, _ = world(pg).key(tenant_id, "prod", allowed_models='["gpt-*", "smart"]', feature="chat")
    roster = load(pg)
    key = roster.keys_by_id[key_id]
    assert roster.keys[key.secret_hash] is key
    assert (key.tenant_id, key.allowed_models, key.feature) == (tenant_id, ("gpt-*", "smart"), "chat")
    assert roster.tenants[tenant_id].content == "none"


def test_revoked_and_expired_keys_stay_and_say_so(pg: psycopg.Connection) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    tenant_id = world(pg).tenant()
    key_id, _ = world(pg).key(tenant_id, revoked_at=at, expires_at=at)
    key = load(pg).keys_by_id[key_id]
    assert (key.revoked_ns, key.expires_ns) == (ns_from_utc(at), ns_from_utc(at))


def test_an_operators_key_has_no_tenant(pg: psycopg.Connection) -> None:
    key_id, _ = world(pg).key(None, "operator")
    assert load(pg).keys_by_id[key_id].tenant_id is None


@pytest.mark.parametrize(
    ("settings", "is_guarded"),
    [
        ({}, False),
        ({"injection": "off", "sensitive_input": "off", "sensitive_output": "log"}, False),
        ({"injection": "flag"}, True),
        ({"sensitive_input": "mask"}, True),
        ({"sensitive_output": "block"}, True),
        ({"most_input_characters": 10_000}, True),
    ],
)
def test_a_tenant_is_guarded_where_a_guard_acts_in_the_calls_path(
    pg: psycopg.Connection, settings: dict[str, Any], is_guarded: bool
) -> None:
    tenant_id = world(pg).tenant(**settings)
    tenant = load(pg).tenants[tenant_id]
    assert tenant.is_guarded == is_guarded
    assert tenant.injection_threshold_permille == 700
