"""/models in both formats: what the price book of each provider knows."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from genai_prices.data_snapshot import get_snapshot

from llmobs.ops.simulator.wire import encode

MADE = datetime(2025, 1, 1, tzinfo=UTC)
EMBEDDING = {"openai": ["text-embedding-3-large", "text-embedding-3-small"], "anthropic": []}


def listing(provider: str, model: str) -> bytes | None:
    """All models of a provider, or the one; None: there is no such model."""
    known = _models(provider)
    if model:
        return encode(_entry(provider, model)) if model in known else None
    entries = [_entry(provider, one) for one in known]
    if provider == "openai":
        return encode({"object": "list", "data": entries})
    return encode({"data": entries, "has_more": False, "first_id": known[0], "last_id": known[-1]})


def _entry(provider: str, model: str) -> dict[str, Any]:
    if provider == "openai":
        return {"id": model, "object": "model", "created": int(MADE.timestamp()), "owned_by": "system"}
    return {"type": "model", "id": model, "display_name": model, "created_at": f"{MADE:%Y-%m-%dT%H:%M:%SZ}"}


@cache
def _models(provider: str) -> list[str]:
    found = next(one for one in get_snapshot().providers if one.id == provider)
    return sorted({model.id for model in found.models} | set(EMBEDDING[provider]))
