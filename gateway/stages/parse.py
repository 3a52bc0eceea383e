"""What is asked: the body, read once and within bounds, and whom the call is attributed to."""

from collections.abc import Awaitable

from gateway.body import read_body, too_large
from gateway.call import Call
from gateway.dialects.dialect import Asked, BadRequest, text
from gateway.dialects.prompted import completed, spelled_out
from gateway.errors import Refusal
from gateway.patience import set_patience
from gateway.plane import Plane
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import KeyInfo

MOST_BODY_BYTES = 32 * 1024 * 1024  # as Anthropic's own limit


def parse(call: Call, plane: Plane) -> Awaitable[None] | None:
    """Fill body, what it asks, and attribution. Raises Refusal."""
    body = call.door.body_now()
    if body is None:
        return _received(call)
    _attributed(call, body)  # it came with its head, as most do
    return None


async def _received(call: Call) -> None:
    try:
        body = await read_body(call.door, MOST_BODY_BYTES)
    except Refusal:
        call.attribution = _attribution(call.headers, None, call.key)
        raise
    _attributed(call, body)


def _attributed(call: Call, body: bytes) -> None:
    try:
        _read(call, body)
    finally:
        call.attribution = _attribution(call.headers, call.asked, call.key)


def _read(call: Call, body: bytes) -> None:
    call.body = body
    if len(body) > MOST_BODY_BYTES:
        raise too_large(MOST_BODY_BYTES)
    if body[:1] != b"{" and body.lstrip()[:1] != b"{":
        raise Refusal("invalid_request", "the body is not a JSON object")
    is_prompted = call.headers.get(b"x-llmobs-prompt")
    if is_prompted:
        body = call.body = spelled_out(body)
    try:
        # What a prompt may bring need not stand in the body.
        asked = call.dialect.read(completed(call.dialect.serves, body) if is_prompted else body)
    except BadRequest as error:
        raise Refusal("invalid_request", f"the body is not a valid request: {error}") from None
    call.asked = asked
    set_patience(call)


def _attribution(headers: dict[bytes, bytes], asked: Asked | None, key: KeyInfo) -> Attribution:
    """From the headers, else the body's metadata, else the key's defaults."""
    return Attribution(
        service=key.service,
        environment=_header(headers, b"x-llmobs-environment")
        or (asked.environment if asked else "")
        or key.environment,
        feature=_header(headers, b"x-llmobs-feature") or (asked.feature if asked else "") or key.feature,
        user_id=_header(headers, b"x-llmobs-user") or (asked.user if asked else ""),
        session_id=_header(headers, b"x-llmobs-session") or (asked.session if asked else ""),
        key_id=key.id,
    )


def _header(headers: dict[bytes, bytes], name: bytes) -> str:
    value = headers.get(name)
    return text(value.decode("utf-8", "replace").strip()) if value else ""
