"""A whole answer: read to its end, its usage read from it, and kept until End is journalled."""

import zlib

from gateway.call import Answer, Call
from gateway.connection import Connection, Headers
from gateway.dialects.dialect import Asked
from gateway.errors import ProviderGarbage, error_response
from gateway.headers import passed_back
from llmobs.core import semconv
from llmobs.pricing.usage import Usage

MOST_ANSWER_BYTES = 64 * 1024 * 1024


async def whole(call: Call, connection: Connection, deadline: float) -> None:
    """Fill outcome and answer. Raises UpstreamError, ProviderGarbage."""
    body = await connection.whole(deadline)
    finish(call, connection.status, connection.headers, body)


def finish(call: Call, status: int, headers: Headers, body: bytes) -> None:
    """What a response that was read to its end comes to. Raises ProviderGarbage."""
    outcome = call.outcome
    outcome.http_status = status
    body = decoded(headers, body)
    outcome.response_body = body
    if status >= 400:
        _provider_error(call, status, headers, body)
        return
    if not 200 <= status < 300:
        raise ProviderGarbage(f"the provider answered with status {status}")
    answered = call.dialect.answered(body)
    if answered is None:
        raise ProviderGarbage("the provider's answer is none of its format")
    if answered.error_type:  # an error under status 200
        outcome.error_type = answered.error_type
        _provider_error(call, 502, headers, body)
        return
    outcome.status = semconv.OK
    outcome.response_id, outcome.response_model = answered.response_id, answered.response_model
    outcome.finish_reasons = answered.finish_reasons
    outcome.usage = answered.usage
    if answered.usage is None:
        assert call.asked is not None
        outcome.usage = estimate(call.asked, call.held_usage, len(body))
        outcome.is_estimated = True
    passed = passed_back(headers)
    passed.append((b"content-length", b"%d" % len(body)))
    call.answer = Answer(status, passed, body)


def _provider_error(call: Call, status: int, headers: Headers, body: bytes) -> None:
    """Passed on with its status and its own body; one that is no JSON (a proxy's page) is put into the format."""
    outcome = call.outcome
    outcome.error_type = outcome.error_type or _error_type(call, body) or str(status)
    if status >= 500 and not body.lstrip().startswith(b"{"):
        name = call.candidate.provider.name if call.candidate is not None else "the provider"
        _, own, body = error_response("provider_error", f"{name} answered with status {status}", call.dialect.name)
        call.answer = Answer(status, own, body)
        return
    passed = passed_back(headers)
    passed += [(b"content-length", b"%d" % len(body)), (b"x-llmobs-reason", b"provider_error")]
    call.answer = Answer(status, passed, body)


def _error_type(call: Call, body: bytes) -> str:
    answered = call.dialect.answered(body)
    return answered.error_type if answered is not None else ""


def estimate(asked: Asked, held: Usage, shown_bytes: int) -> Usage:
    """Usage of an answer that reported none: the input's bound, and a token for each byte shown, never below the truth.

    Where the model may think unseen, what was shown says nothing: its whole ceiling then.
    """
    output = held.output if asked.thinks else min(held.output, shown_bytes)
    return Usage(held.uncached_input, held.cache_read, held.cache_write_5m, held.cache_write_1h, output)


def decoded(headers: Headers, body: bytes) -> bytes:
    """The body in plain: we asked for identity, and undo what came compressed all the same. Raises ProviderGarbage."""
    encoding = next((value.lower() for name, value in headers if name == b"content-encoding"), b"identity")
    if encoding in (b"identity", b""):
        return body
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise ProviderGarbage(f"the provider compressed its answer by {encoding.decode('latin-1')[:20]!r}, unasked")
    try:
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        plain = inflate.decompress(body, MOST_ANSWER_BYTES)
    except zlib.error:
        raise ProviderGarbage("the provider's compressed answer is damaged") from None
    if inflate.unconsumed_tail:
        raise ProviderGarbage(f"the answer is longer than {MOST_ANSWER_BYTES} bytes")
    return plain
