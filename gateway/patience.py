"""How long a call waits for its provider: by the key's criticality, or as the caller says."""

from gateway.call import Call
from gateway.errors import Refusal

REALTIME = "realtime"
FIRST_BYTE_SECONDS = {True: 5.0, False: 15.0}  # of a stream; realtime or not
WHOLE_SECONDS = {True: 30.0, False: 600.0}
BETWEEN_CHUNKS_SECONDS = 60.0  # providers send a ping at least every half minute
STREAM_SECONDS = 3600.0
READ_ON_SECONDS = 30.0  # after the client has gone, for the usage that is billed
MOST_SECONDS = 3600.0


def set_patience(call: Call) -> None:
    """Fill the call's deadlines. Raises Refusal on a header that is no number of seconds."""
    given = call.headers.get(b"x-llmobs-timeout")
    if given is not None:
        call.first_byte_seconds = call.whole_seconds = _seconds(given)
        return
    is_realtime = call.key.criticality == REALTIME
    call.first_byte_seconds = FIRST_BYTE_SECONDS[is_realtime]
    call.whole_seconds = WHOLE_SECONDS[is_realtime]


def _seconds(given: bytes) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise Refusal("invalid_request", f"x-llmobs-timeout is a number of seconds, up to {MOST_SECONDS:g}")
    return seconds
