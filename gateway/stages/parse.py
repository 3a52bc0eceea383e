"""What is asked: the body, read once and within bounds, and whom the call is attributed to."""

from gateway.body import read_body
from gateway.call import Call
from gateway.dialects.dialect import Asked, BadRequest, text
from gateway.dialects.prompted import completed, spelled_out
from gateway.errors import Refusal
from gateway.patience import set_patience
from gateway.plane import Plane
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import KeyInfo

MOST_BODY_BYTES = 32 * 1024 * 1024  # as Anthropic's own limit


async def parse(call: Call, plane: Plane) -> None:
    """Fill body, what it asks, and attribution. Raises Refusal."""
    call.attribution = _attribution(call.headers, None, call.key)
    body = call.body = await read_body(call.receive, call.headers, MOST_BODY_BYTES, call.door)
    if not body.lstrip()[:1] == b"{":
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
    call.attribution = _attribution(call.headers, asked, call.key)


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
