"""What became of the call, in the journal before its last byte goes out: its last attempt's End, and its own span
where one attempt does not tell it all.
"""

from gateway.call import Call
from gateway.ending import record_attempt
from gateway.plane import Plane
from llmobs.budgets.canary import TENANT_ID


def record(call: Call, plane: Plane) -> None:
    """Journal the end of the call, or the refusal. Never raises."""
    attempt = call.attempt
    if attempt is not None and not attempt.is_recorded:
        record_attempt(call, attempt, plane)
    if call.is_one_attempt or (call.tenant is not None and call.tenant.id == TENANT_ID):  # the canary is nobody's call
        return
    if call.refusal is not None and not call.attempts:
        plane.counts.refused[call.refusal[0]] += 1
        if call.tenant is not None:
            plane.recorder.refused(call)
    elif call.tenant is not None and call.asked is not None:
        plane.recorder.called(call)
