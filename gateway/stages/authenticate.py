"""Who calls: the key from `Authorization: Bearer` or `x-api-key`, looked up by its SHA-256; and the trace it is in.

Fails closed: no snapshot, no entry, revoked, expired, or a tenant that is switched off: refused. The message never
says whether a key exists elsewhere, and never repeats what was sent.
"""

from typing import Protocol

from gateway.call import Call
from gateway.errors import Refusal
from gateway.plane import Plane
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.tenants.keys import INTERNAL_PREFIX, check_internal, secret_hash
from llmobs.tenants.roster import KeyInfo, Roster, TenantInfo

_NO_ID = frozenset({b"0" * 32, b"0" * 16})


class Knows(Protocol):
    """Whatever has a roster: a snapshot, or who follows that alone."""

    @property
    def roster(self) -> Roster: ...


def authenticate(call: Call, plane: Plane) -> None:
    """Fill tenant, key and trace context. Raises Refusal."""
    join_trace(call)
    snapshot = plane.snapshot
    if snapshot is None:
        raise Refusal("not_ready", "the gateway has no configuration yet; try again in a moment")
    secret = secret_of(call.headers)
    call.tenant, call.key = holder(snapshot, secret, plane.platform_secret, call.started_ns)


def secret_of(headers: dict[bytes, bytes]) -> str:
    """The secret that a request carries. Raises Refusal when there is none."""
    given = headers.get(b"authorization", b"")
    is_bearer = given[:7].lower() == b"bearer "
    secret = (given[7:] if is_bearer else headers.get(b"x-api-key", b"")).strip()
    if not secret:
        raise Refusal("invalid_key", "no key: send it as Authorization: Bearer or as x-api-key")
    return secret.decode("latin-1")


def holder(snapshot: Knows, secret: str, platform_secret: str, now_ns: int) -> tuple[TenantInfo, KeyInfo]:
    """The tenant and key that a secret stands for. Raises Refusal."""
    key = _find(snapshot, secret, platform_secret, now_ns)
    if key is None or key.tenant_id is None:
        raise Refusal("invalid_key", "this key is not known here")
    if key.revoked_ns is not None and key.revoked_ns <= now_ns:
        raise Refusal("revoked_key", "this key was revoked")
    if key.expires_ns is not None and key.expires_ns <= now_ns:
        raise Refusal("invalid_key", "this key has expired")
    tenant = snapshot.roster.tenants.get(key.tenant_id)
    if tenant is None or not tenant.is_active:
        raise Refusal("invalid_key", "the tenant of this key is switched off")
    return tenant, key


def _find(snapshot: Knows, secret: str, platform_secret: str, now_ns: int) -> KeyInfo | None:
    if secret.startswith(INTERNAL_PREFIX):
        key_id = check_internal(secret, platform_secret, now_ns)
        return None if key_id is None else snapshot.roster.keys_by_id.get(key_id)
    return snapshot.roster.keys.get(secret_hash(secret))


def join_trace(call: Call) -> None:
    """Our span is a child of the caller's, where `traceparent` (W3C Trace Context) names it; else it begins a trace."""
    call.span_id = new_span_id()
    parent = call.headers.get(b"traceparent")
    if parent is not None and _is_traceparent(parent):
        call.trace_id = bytes.fromhex(parent[3:35].decode())
        call.parent_span_id = bytes.fromhex(parent[36:52].decode())
    else:
        call.trace_id = new_trace_id()


def _is_traceparent(value: bytes) -> bool:
    parts = value.split(b"-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == b"ff":
        return False
    if parts[1] in _NO_ID or parts[2] in _NO_ID:
        return False
    return all(c in b"0123456789abcdef" for part in parts[:4] for c in part)
