"""What makes two requests the same: SHA-256 over the canonical JSON of all that can change the answer.

Everything in the body counts but for what is named in `UNTOLD`, so that a parameter that nobody here knows yet makes
another request, never a wrong hit. Beside the body: the operation with its format, who may answer (a route that was
changed is another route), the prompt's version, headers that the provider sees, and how the answer is guarded. The
tenant is in the key's name.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

# How the answer is sent, or who asks: none of it changes what is answered. `model` is told by `asked`.
UNTOLD = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "metadata",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "store",
    }
)

# Requests that lean on what the provider keeps, or whose answers others will lean on: never answered from here.
NOT_ALONE = ("previous_response_id", "conversation", "container", "background", "prompt", "audio")
_NOT_ANSWERED_TWICE = frozenset({"count_tokens"})

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def digest(
    body: bytes, operation: str, asked: str, candidates: Iterable[str], prompt_version: str, beside: Iterable[bytes]
) -> str | None:
    """The request's key in hexadecimal; None: it cannot be answered from a cache.

    `operation` names format and operation ("chat", "messages"); `asked` is the model or route as the client says it;
    `candidates` name who may answer, in any order; `beside` is what else tells of the answer, in a fixed order: headers
    that are passed on, the guard of the output.
    """
    if operation in _NOT_ANSWERED_TWICE:
        return None
    try:
        fields = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if _leans(fields):
        return None
    told = {name: value for name, value in fields.items() if name not in UNTOLD}
    told["model"] = asked
    whole = [operation, told, sorted(set(candidates)), prompt_version, [value.decode("latin-1") for value in beside]]
    return sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def _leans(fields: dict[str, Any]) -> bool:
    """`store: true` too: whoever asks that the provider keeps the answer must get one that the provider knows."""
    return any(fields.get(name) for name in NOT_ALONE) or fields.get("store") is True or _refers(fields.get("input"))


def _refers(items: Any) -> bool:
    """An input of /v1/responses that names an item kept by the provider."""
    return isinstance(items, list) and any(
        isinstance(item, dict) and item.get("type") == "item_reference" for item in items
    )
