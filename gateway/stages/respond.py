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
    if answer.status:
        headers = answer.headers + own_headers(call)
        cost = call.outcome.cost_nanousd
        if cost is not None:
            headers.append((b"x-llmobs-cost-usd", exact_usd(cost).encode()))
        await call.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await call.send({"type": "http.response.body", "body": answer.body})
        return
    body = answer.body
    if call.headers.get(b"x-llmobs-stream-cost") == b"1" and call.outcome.cost_nanousd is not None:
        body += b": llmobs cost_usd=%s\n\n" % exact_usd(call.outcome.cost_nanousd).encode()
    await call.send({"type": "http.response.body", "body": body})
