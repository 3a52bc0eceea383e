"""A whole answer: read to its end, its usage read from it, and kept until End is journalled."""

import zlib

from msgspec.structs import replace

from gateway.call import Answer, Attempt, Call
from gateway.connection import Headers
from gateway.dialects.translation import Garbled
from gateway.errors import ProviderGarbage, error_response
from gateway.headers import passed_back
from gateway.security import flag
from llmobs.core import semconv
from llmobs.pricing.usage import Usage

MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_RETRY_AFTER_SECONDS = 86_400.0
ACCOUNT_STATUSES = frozenset({401, 402, 403, 407})


def finish(call: Call, attempt: Attempt, status: int, headers: Headers, body: bytes) -> None:
    """What a response that was read to its end comes to. Raises ProviderGarbage."""
    outcome = attempt.outcome
    outcome.http_status = status
    body = decoded(headers, body)
    outcome.response_body = body
    if status >= 400:
        _provider_error(call, attempt, status, headers, body)
        return
    if not 200 <= status < 300:
        raise ProviderGarbage(f"the provider answered with status {status}")
    answered = attempt.speaks.answered(body)
    if answered is None:
        raise ProviderGarbage("the provider's answer is none of its format")
    if answered.error_type:  # an error under status 200
        outcome.error_type = answered.error_type
        _provider_error(call, attempt, 502, headers, body)
        return
    outcome.response_id, outcome.response_model = answered.response_id, answered.response_model
    outcome.finish_reasons = answered.finish_reasons
    outcome.usage, outcome.stated_nanousd = answered.usage, answered.stated_nanousd
    if answered.usage is None and attempt.is_billed:
        outcome.usage = estimate(call, attempt, len(body))
        outcome.is_estimated = True
    if attempt.translation is not None:
        body = _translated(attempt, body)
    outcome.status = semconv.OK
    if call.output_guard is not None:
        body = _guarded(call, attempt, body)
        if attempt.answer is not None:
            return
    passed = passed_back(headers)
    passed.append((b"content-length", b"%d" % len(body)))
    attempt.answer = Answer(status, passed, body)


def _guarded(call: Call, attempt: Attempt, body: bytes) -> bytes:
    """The answer that may go out. Blocked: the attempt has its answer. What was masked is not kept unmasked."""
    guard, outcome = call.output_guard, attempt.outcome
    body = guard.guard_answer(body)
    attempt.findings = guard.findings
    if guard.kept is not None:
        outcome.response_body = guard.kept
    if guard.is_blocked:
        outcome.status, outcome.error_type = semconv.FAILED, guard.reason
        attempt.answer = Answer(*guard.refusal())
    flag(call, attempt.findings)
    return body


def _translated(attempt: Attempt, body: bytes) -> bytes:
    assert attempt.translation is not None
    try:
        return attempt.translation.answer(body)
    except Garbled as error:
        raise ProviderGarbage(f"the provider's answer cannot be translated: {error}") from None


def _provider_error(call: Call, attempt: Attempt, status: int, headers: Headers, body: bytes) -> None:
    """Passed on with its status and its own body; one that is no JSON (a proxy's page) is put into the format."""
    outcome = attempt.outcome
    outcome.error_type = outcome.error_type or _error_type(attempt, body) or str(status)
    outcome.retry_after_s = _retry_after(headers)
    outcome.may_retry = (b"x-should-retry", b"false") not in headers
    name = attempt.candidate.provider.name
    if status in ACCOUNT_STATUSES:
        # It is our account that was refused, not the caller's key; and such a body may quote a part of our credential.
        message = f"{name} refused the gateway's own credential (status {status}): its operator must see to it"
        attempt.answer = Answer(*error_response("provider_error", message, call.dialect.name))
        return
    if status >= 500 and not body.lstrip().startswith(b"{"):
        _, own, body = error_response("provider_error", f"{name} answered with status {status}", call.dialect.name)
        attempt.answer = Answer(status, own, body)
        return
    if attempt.translation is not None:
        status, body = attempt.translation.error(status, body)
    passed = passed_back(headers)
    passed += [(b"content-length", b"%d" % len(body)), (b"x-llmobs-reason", b"provider_error")]
    attempt.answer = Answer(status, passed, body)


def _retry_after(headers: Headers) -> float | None:
    """Seconds that the provider asks us to wait (`retry-after-ms`, else `retry-after`); a date is no number."""
    found = dict(headers)
    for name, per_second in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        try:
            seconds = float(found[name]) / per_second
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < MOST_RETRY_AFTER_SECONDS:
            return seconds
    return None


def _error_type(attempt: Attempt, body: bytes) -> str:
    answered = attempt.speaks.answered(body)
    return answered.error_type if answered is not None else ""


def estimate(call: Call, attempt: Attempt, shown_bytes: int) -> Usage:
    """Usage of an answer that reported none: the input's bound, and a token for each byte shown, never below the truth.

    Where the model may think unseen, what was shown says nothing: its whole ceiling then.
    """
    held = attempt.held_usage
    thinks = (call.asked is not None and call.asked.thinks) or attempt.speaks.may_think(attempt.candidate.model)
    output = held.output if thinks else min(held.output, shown_bytes)
    return replace(held, output=output, reasoning=min(held.reasoning, output))


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
