"""Reading a request's body within bounds of size and time."""

import asyncio

from gateway.call import Receive
from gateway.errors import Refusal

SLOW_BODY_SECONDS = 60.0  # for the rest of a body whose beginning has come


async def read_body(receive: Receive, headers: dict[bytes, bytes], most_bytes: int) -> bytes:
    """The whole body. Raises Refusal: too_large, or invalid_request when it does not come."""
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > most_bytes:
        raise _too_large(most_bytes)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        try:
            async with asyncio.timeout(SLOW_BODY_SECONDS):
                body = await _rest(receive, body, most_bytes)
        except TimeoutError:
            raise Refusal("invalid_request", f"the body did not come within {SLOW_BODY_SECONDS:g} s") from None
    elif message["type"] == "http.disconnect":
        raise Refusal("invalid_request", "the caller left before its body was whole")
    return body


async def _rest(receive: Receive, first: bytes, most_bytes: int) -> bytes:
    parts, size = [first], len(first)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal("invalid_request", "the caller left before its body was whole")
        part = message.get("body", b"")
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal("too_large", f"the body is larger than {most_bytes // 2**20} MB")
