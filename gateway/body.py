"""Reading a request's body within bounds of size and time."""

import asyncio

from gateway.door import Door
from gateway.errors import Refusal
from gateway.room import Held

SLOW_BODY_SECONDS = 60.0  # for all of a body


async def read_body(door: Door, most_bytes: int, held: Held | None = None) -> bytes:
    """The whole body. Raises Refusal: too_large, or invalid_request when it does not come.

    `held` is told of every part that waits for more; what that raises is passed on.
    """
    length = door.headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > most_bytes:
        raise too_large(most_bytes)
    try:
        async with asyncio.timeout(SLOW_BODY_SECONDS):
            return await _whole(door, most_bytes, held)
    except TimeoutError:
        raise Refusal("invalid_request", f"the body did not come within {SLOW_BODY_SECONDS:g} s") from None
    finally:
        if held is not None:
            held.end()


async def _whole(door: Door, most_bytes: int, held: Held | None) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await door.receive()
        if message["type"] == "http.disconnect":
            raise Refusal("invalid_request", "the caller left before its body was whole")
        part = message.get("body", b"")
        size += len(part)
        if size > most_bytes:
            raise too_large(most_bytes)
        parts.append(part)
        more = message.get("more_body", False)
        if more and held is not None:
            held.more(len(part))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(most_bytes: int) -> Refusal:
    """The refusal of a body that is longer."""
    return Refusal("too_large", f"the body is larger than {most_bytes // 2**20} MB")
