"""Episodes as the writer puts them there."""

from datetime import UTC, datetime, timedelta
from typing import Any

from llmobs.brake.models import BrakedSession
from llmobs.tenants.models import Tenant

EVIDENCE = {
    "score_permille": 1012, "calls": 104, "alike_calls": 103, "tool_calls": 0, "growth_calls": 0, "from_bytes": 400,
    "to_bytes": 400, "cost_nanousd": 1_040_000_000, "usual_nanousd": 1_000_000_000, "window_seconds": 600,
}  # fmt: skip


def episode(tenant: Tenant, number: int = 1, **fields: Any) -> BrakedSession:
    now = datetime.now(UTC)
    given: dict[str, Any] = {
        "id": f"{number:016x}",
        "mark": f"{number:032x}",
        "kind": "session",
        "key_id": 0,
        "user_id": "",
        "session_id": f"run-{number}",
        "feature": "",
        "model": "gpt-4o",
        "trace_id": f"{number:032x}",
        "state": "paused",
        "begun_at": now - timedelta(minutes=2),
        "changed_at": now - timedelta(minutes=1),
        "until": now + timedelta(hours=24),
        "told": "104 calls within 10 min, 103 of them with near-identical prompts, 1.04 USD",
        "evidence": EVIDENCE,
    }
    return BrakedSession.objects.create(tenant=tenant, **{**given, **fields})
