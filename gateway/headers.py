"""Which headers pass: the caller's to the provider, the provider's to the caller, and our own."""

from binascii import hexlify
from functools import lru_cache

from gateway.call import Attempt, Call
from gateway.errors import Headers
from llmobs.core.money import exact_usd

# What a provider may need of the caller's. Credentials, cookies, the caller's network and our own headers stay here.
PASSED_ON = frozenset(
    {
        b"accept",
        b"user-agent",
        b"x-client-request-id",
        b"openai-beta",
        b"anthropic-version",
        b"anthropic-beta",
    }
)
ANTHROPIC_VERSION = b"anthropic-version: 2023-06-01\r\n"  # for callers that send none

# What a caller may need of the provider's. Its rate limits are our account's, not the caller's, and stay here.
PASSED_BACK = frozenset(
    {b"content-type", b"request-id", b"x-request-id", b"openai-processing-ms", b"retry-after", b"retry-after-ms"}
)


# What a caller says in its format's headers means nothing to a provider of the other.
PASSED_TO_ANY = frozenset({b"user-agent", b"x-client-request-id"})


def request_head(call: Call, attempt: Attempt, unchanging: bytes, body_bytes: int) -> bytes:
    """The head of a request upstream: the provider's lines, what passes of the caller's, the length."""
    headers = call.headers
    passed = PASSED_ON if attempt.translation is None else PASSED_TO_ANY
    head = [unchanging, *[b"%s: %s\r\n" % header for header in headers.items() if header[0] in passed]]
    once = headers.get(b"idempotency-key")
    if once is not None and call.tenant is not None:  # our account at the provider is one for all tenants: kept apart
        head.append(b"idempotency-key: %d-%s\r\n" % (call.tenant.id, once))
    if attempt.speaks.name == "anthropic" and (attempt.translation is not None or b"anthropic-version" not in headers):
        head.append(ANTHROPIC_VERSION)
    head.append(b"content-length: %d\r\n\r\n" % body_bytes)
    return b"".join(head)


def passed_back(headers: Headers) -> Headers:
    """The provider's headers that the caller sees."""
    return [header for header in headers if header[0] in PASSED_BACK]


@lru_cache(maxsize=1024)
def _who(provider: str, model: str) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    return (b"x-llmobs-provider", provider.encode()), (b"x-llmobs-model", model.encode("ascii", "replace"))


def own_headers(call: Call) -> Headers:
    """Where to find the call, who answered it, and what stages tell besides."""
    headers: Headers = [(b"x-llmobs-trace-id", hexlify(call.trace_id)), (b"x-llmobs-span-id", hexlify(call.span_id))]
    attempt = call.attempt
    if attempt is not None:
        candidate = attempt.candidate
        headers += _who(candidate.provider.name, candidate.model)
        headers.append((b"x-llmobs-attempts", b"%d" % len(call.attempts)))
    if attempt is not None or call.cached is not None:
        headers.append((b"x-llmobs-cache", call.cache.encode()))
    if call.degraded:
        headers.append((b"x-llmobs-degraded", call.degraded.encode()))
    if call.left_nanousd is not None:
        headers.append((b"x-llmobs-budget-remaining-usd", exact_usd(max(call.left_nanousd, 0)).encode()))
    if call.own_headers:
        headers += call.own_headers
    return headers
