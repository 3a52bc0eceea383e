"""An output ceiling for requests that set none, as the caller's key or the route declares it.

It is sent upstream, so that what a budget holds for the answer is what the answer can cost: without it a hold is for
the model's own longest answer, many times what calls take. The smaller of key and route counts, and no cap of a limit
is passed by it.
"""

from msgspec.structs import replace

from gateway.call import Call
from gateway.rates import CHATS
from gateway.snapshot import Snapshot


def declared(call: Call) -> int | None:
    """What key or route declare; None: nothing."""
    of_key, route = call.key.most_output_tokens, call.route
    of_route = route.most_output_tokens if route is not None else None
    if of_key is None or of_route is None:
        return of_key or of_route
    return min(of_key, of_route)


def set_ceiling(call: Call, most_output_tokens: int, snapshot: Snapshot) -> None:
    """Give a request without a ceiling this one. Raises Refusal where the body cannot be rewritten."""
    asked, tenant = call.asked, call.tenant
    assert asked is not None
    assert tenant is not None
    if asked.most_output_tokens is not None or call.dialect.serves not in CHATS:
        return
    first = call.candidates[0]
    caps = snapshot.limits.caps(tenant.id, call.attribution, first.model, first.provider.name, call.door.ip)
    if caps.output_tokens is not None:
        most_output_tokens = min(most_output_tokens, max(caps.output_tokens // max(asked.choices, 1), 1))
    # Under which name it is sent, the model decides that will answer: a route's own name says nothing of it.
    call.rewrite(call.dialect.capped(call.body, most_output_tokens, replace(asked, model=first.model)))
