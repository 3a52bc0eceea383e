"""The stages of a call, in running order. No stage knows another.

`authenticate parse brake guard prompt route` only collect what must be asked (a runaway waits at `brake`, or ends
there); `admit` asks it in one step and journals Begin; `forward` sends, and tries again where that helps. However a
call ends, `record` journals its End and `settle` gives back what was not used; only then `respond` sends the last
bytes, so that no answered call can be left without its usage.
"""

import logging

from gateway.call import Answer, Call
from gateway.errors import GatewayError, Refusal, error_response
from gateway.plane import Plane
from gateway.stages.admit import admit
from gateway.stages.authenticate import authenticate
from gateway.stages.brake import brake
from gateway.stages.forward import forward
from gateway.stages.guard import guard
from gateway.stages.parse import parse
from gateway.stages.prompt import prompt
from gateway.stages.record import record
from gateway.stages.respond import respond
from gateway.stages.route import route
from gateway.stages.settle import settle

log = logging.getLogger(__name__)

STAGES = (authenticate, parse, brake, guard, prompt, route, admit, forward)
CLOSING = (record, settle)


async def run(call: Call, plane: Plane) -> None:
    """Answer one call."""
    plane.counts.in_flight += 1
    try:
        for stage in STAGES:
            pending = stage(call, plane)
            if pending is not None:
                await pending
    except GatewayError as error:
        _refuse(call, error)
    except Exception:  # the request's edge
        log.exception("call %s failed", call.span_id.hex())
        _refuse(call, Refusal("internal", f"a fault of the gateway; ask for {call.span_id.hex()}"))
    finally:
        plane.counts.in_flight -= 1
        for close in CLOSING:
            close(call, plane)
    await respond(call, plane)


def _refuse(call: Call, error: GatewayError) -> None:
    status, headers, body = error_response(error.reason, error.message, call.dialect.name, error.told)
    call.answer = Answer(status, headers + error.headers, body)
    if isinstance(error, Refusal) or not call.attempts:
        call.refusal = (error.reason, error.message, error.details if isinstance(error, Refusal) else {})
