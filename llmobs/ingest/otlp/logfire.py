"""logfire's own instrumentations of SDKs: for a stream, the usage comes on a second span of no length.

That second span (`streaming response from …`) is the call's claim; its `duration` gives back when the call began. The
first span stays in the trace, but is no call of its own unless it failed, since then no second one comes.
"""

from typing import Any

from llmobs.ingest.otlp import messages
from llmobs.ingest.otlp.reading import Attributes, Reading, count, inner, parsed, take, take_seconds

SCOPE = "logfire"
STREAMED = "streaming response from"

# logfire writes this in place of values whose key contains `session` and the like.
SCRUBBED = "[Scrubbed due to"


def refine(attributes: Attributes, reading: Reading, name: str, is_error: bool) -> None:
    """After the general reading: what only logfire's spans have."""
    request, response = parsed(take(attributes, ("request_data",))), parsed(take(attributes, ("response_data",)))
    _fill_content(request, response, reading)
    usage = parsed(take(attributes, ("gen_ai.usage.raw",)))
    if usage is None:
        usage = inner(response, "usage")
    if reading.reasoning is None:
        reading.reasoning = _reasoning(usage)
    if name.startswith(STREAMED):
        reading.is_stream = True
        reading.starts_earlier_ns = take_seconds(attributes, ("duration",)) or 0
    elif (reading.is_stream or inner(request, "stream") is True) and not is_error and reading.input_tokens is None:
        reading.is_stream = True
        reading.is_call = False


def _reasoning(usage: Any) -> int | None:
    for details in ("completion_tokens_details", "output_tokens_details"):
        found = count(inner(usage, details, "reasoning_tokens"))
        if found is not None:
            return found
    return None


def _fill_content(request: Any, response: Any, reading: Reading) -> None:
    if reading.input is None:
        reading.input = messages.normal(inner(request, "messages") or inner(request, "input"), "user")
    if reading.output is None:
        answer = inner(response, "message") or inner(response, "combined_chunk_content")
        reading.output = messages.normal([answer] if isinstance(answer, dict) else answer, "assistant")
