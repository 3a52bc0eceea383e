"""How long a call waits for its provider: by the key's criticality, as the provider needs, or as the caller says."""

from gateway.call import Call
from gateway.errors import Refusal
from llmobs.providers.registry import ProviderInfo

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


def patience_with(provider: ProviderInfo, call: Call) -> tuple[float, float]:
    """Seconds to a stream's first byte and for a whole answer: the caller's, else the provider's, else the key's."""
    if b"x-llmobs-timeout" in call.headers:
        return call.first_byte_seconds, call.whole_seconds
    return provider.first_byte_seconds or call.first_byte_seconds, provider.whole_seconds or call.whole_seconds


def _seconds(given: bytes) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise Refusal("invalid_request", f"x-llmobs-timeout is a number of seconds, up to {MOST_SECONDS:g}")
    return seconds
