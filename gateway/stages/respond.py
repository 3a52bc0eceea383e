"""The last bytes to the client: a whole response, or a stream's end."""

from gateway.call import Call
from gateway.headers import own_headers
from gateway.plane import Plane
from llmobs.core.money import exact_usd


async def respond(call: Call, plane: Plane) -> None:
    """Send the answer, with our headers."""
    answer = call.answer
    if answer is None or call.is_client_gone:
        return
    cost, door = call.cost_nanousd, call.door
    if door.is_stalled:
        await door.drained()
    body = answer.body
    if answer.is_stream and cost is not None and call.headers.get(b"x-llmobs-stream-cost") == b"1":
        body += b": llmobs cost_usd=%s\n\n" % exact_usd(cost).encode()
    if answer.status:
        headers = answer.headers + own_headers(call)
        if cost is not None and not answer.is_stream:
            headers.append((b"x-llmobs-cost-usd", exact_usd(cost).encode()))
        if not answer.is_stream:
            door.answer(answer.status, headers, body)
            return
        door.start(answer.status, headers)
    door.end(body)
