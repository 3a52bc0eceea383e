"""The canary: a key with a budget of zero, tried through the gateway's own door at its start."""

from pathlib import Path

import httpx2 as httpx
import pytest

from gateway.canary import Canary
from gateway.snapshot import Snapshot
from llmobs.budgets.canary import TENANT_ID
from tests.gateway.running import Gateway, running
from tests.gateway.world import World


def ready(gateway: Gateway) -> httpx.Response:
    return httpx.get(f"{gateway.url}/readyz")


def state(gateway: Gateway) -> str:
    assert gateway.plane is not None
    return gateway.plane.canary.state


def test_it_is_refused_at_the_start_and_the_heartbeat_says_so(
    world: World, tenant: int, tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    """PAINS 7: a budget that is set and not enforced is found out before the first call."""
    world.open_ledger()
    with running(tmp_path, database_url, valkey_url) as gateway:
        gateway.wait_until(lambda: state(gateway) == "refused", "the canary was refused")
        assert ready(gateway).status_code == 200
        said = "SELECT canary FROM heartbeat WHERE owner = %s"
        gateway.wait_until(
            lambda: world.pg.execute(said, (gateway.wiring.owner,)).fetchone() == ("refused",), "the heartbeat says so"
        )
        assert gateway.entries() == []  # it is nobody's call
        assert world.ledger() == {"base": 0, "pending": 0, "held": 0, "live": 0}
        assert "llmobs_refused_total{" not in httpx.get(f"{gateway.url}/metrics").text


def test_a_ledger_that_recovers_says_nothing_and_it_is_tried_again(
    world: World, tenant: int, tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    with running(tmp_path, database_url, valkey_url) as gateway:
        gateway.wait_until(lambda: ready(gateway).status_code == 200, "ready: without a ledger all are refused")
        assert state(gateway) == ""
        world.open_ledger()
        gateway.wait_until(lambda: state(gateway) == "refused", "refused once the ledger is open")


def test_a_gateway_that_does_not_enforce_budgets_is_not_ready(
    world: World,
    tenant: int,
    tmp_path: Path,
    database_url: str,
    valkey_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PAINS 7: as if an upgrade had left the budgets out of what gateways know."""
    made = Snapshot.__init__

    def without_budgets(self: Snapshot, *args: object) -> None:
        made(self, *args)  # type: ignore[arg-type]
        self.budgets._slots.clear()

    monkeypatch.setattr(Snapshot, "__init__", without_budgets)
    world.open_ledger()
    with running(tmp_path, database_url, valkey_url) as gateway:
        gateway.wait_until(lambda: ready(gateway).status_code == 503, "not ready")
        assert "a call under a budget of zero was not refused (503 provider_unavailable)" in ready(gateway).text
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200


def test_no_other_tenant_reaches_its_candidate_and_no_list_shows_it(gateway: Gateway, http: httpx.Client) -> None:
    assert "canary" not in http.get("/v1/models").text
    body = {"model": "canary/gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}
    assert http.post("/v1/chat/completions", json=body).headers["x-llmobs-reason"] == "unknown_model"
    assert gateway.plane is not None
    assert gateway.plane.snapshot is not None
    assert TENANT_ID not in {tenant.id for tenant in gateway.plane.snapshot.stored.tenants}


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (429, "budget_exhausted", "refused"),
        (503, "budget_unavailable", ""),
        (429, "rate_limited_global", ""),
        (0, "", ""),
        (200, "", "200 without a reason"),
        (401, "invalid_key", "401 invalid_key"),
    ],
)
def test_what_it_hears_is_told_apart(status: int, reason: str, expected: str) -> None:
    canary = Canary()
    canary._heard(status, reason)
    assert canary.state == expected
    assert bool(canary.problem) == (expected not in ("", "refused"))
