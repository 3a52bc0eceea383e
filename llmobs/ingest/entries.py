"""What the journal holds: the entries that gateways, collectors and the web append and the writer reads.

Each entry is msgpack of one of these structs, sealed and framed by `ingest.journal`. An attempt has one Begin
before its upstream request and one End after it; a Begin without End, whose owner has died, was abandoned.
"""

import msgspec

from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.tenants.attribution import Attribution


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt holds of one budget: `amount` in the budget's unit (nano-USD or tokens)."""

    budget_id: int
    revision: int
    value: str
    window_start_s: int
    amount: int


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What a guard found in a call, and did about it; never the text itself."""

    kind: str  # injection, personal_data, secret, too_long
    where: str  # input, tool_result, output
    action: str  # logged, flagged, masked, blocked
    name: str  # of the pattern: "email", "ignore_instructions"
    score_permille: int = 1000
    count: int = 1
    fingerprint: str = ""  # HMAC under a key of the tenant


class Begin(msgspec.Struct, frozen=True, array_like=True, tag="begin"):
    """An attempt about to be sent upstream."""

    attempt: bytes  # its span id, 8 bytes
    trace_id: bytes
    parent_span_id: bytes | None  # the caller's span, or from the second attempt on the call's
    tenant_id: int
    attribution: Attribution
    start_ns: int
    name: str  # the span's: "chat gpt-4o-mini"
    operation_name: str
    provider_name: str
    priced_as: str  # the price book's provider: prices_like or the name
    request_model: str  # what the client put into "model"
    model: str  # what goes upstream
    dialect: str
    is_stream: bool
    held_nanousd: int | None  # upper bound of its cost; None: unpriced
    held_usage: Usage | None  # what that bound assumes, billed if the attempt is abandoned
    price_version: str
    holds: list[Hold]
    client: str = ""  # user agent, cut to 200 characters
    number: int = 1  # of the call's attempts
    prompt_version: str = ""  # "name@3"
    findings: list[Finding] = []
    unpriced_nanousd: int = 0  # held instead of the bound, where there is none
    first: bytes = b""  # of a further attempt: the call's first


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """How an attempt ended. Its cost was computed where its usage was first known."""

    attempt: bytes
    duration_ns: int
    ttft_ns: int | None
    status: str
    error_type: str
    http_status: int
    response_model: str
    response_id: str
    finish_reasons: list[str]
    usage: Usage | None  # None: the provider charged nothing (it refused, or was never reached)
    is_estimated: bool
    cost_nanousd: int | None
    price_version: str
    request_body: bytes  # as the client sent it; b"" where the tenant keeps no content
    response_body: bytes  # as the provider sent it (a stream: its SSE text)
    is_truncated: bool = False  # content was longer than is kept
    call_span_id: bytes | None = None  # the call went on after this attempt: its own span is the parent
    findings: list[Finding] = []
    degraded: str = ""  # the call's only attempt was not at the first choice
    stated_nanousd: int | None = None  # what the provider says that it cost


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """A call that we refused: a span without a bill."""

    span_id: bytes
    trace_id: bytes
    parent_span_id: bytes | None
    tenant_id: int
    attribution: Attribution
    start_ns: int
    duration_ns: int
    name: str
    operation_name: str
    provider_name: str
    request_model: str
    reason: str
    message: str
    details: dict[str, str | int]  # budget_exhausted: budget, value, window, limit, base, pending, held, requested
    prompt_version: str = ""
    findings: list[Finding] = []


class Called(msgspec.Struct, frozen=True, array_like=True, tag="called"):
    """A call's own span, where one attempt alone does not tell it: several attempts, or an answer without any.

    It bears no bill: those are its attempts'.
    """

    span_id: bytes
    trace_id: bytes
    parent_span_id: bytes | None
    tenant_id: int
    attribution: Attribution
    start_ns: int
    duration_ns: int
    ttft_ns: int | None
    name: str
    operation_name: str
    provider_name: str  # who answered, "" for nobody
    request_model: str  # what the client put into "model"
    model: str  # what answered
    is_stream: bool
    status: str
    error_type: str
    message: str
    attempts: int  # none: it counts as a request of its own, at no cost
    degraded: str  # why the answer is not the primary's: fallback, stale_cache, static …
    cache: str  # hit-exact, stale, miss, off
    saved_input_tokens: int
    saved_output_tokens: int
    saved_nanousd: int | None
    response_id: str
    finish_reasons: list[str]
    request_body: bytes
    response_body: bytes
    is_truncated: bool
    prompt_version: str
    findings: list[Finding]
    failed_attempts: int = 0


class Braked(msgspec.Struct, frozen=True, array_like=True, tag="braked"):
    """What the runaway brake did with a session: no span, but a row of its own. A later one of the same id goes on."""

    id: str  # of the span of the call with which the episode began
    trace_id: bytes
    tenant_id: int
    attribution: Attribution
    mark: str  # by which gateways know the session
    kind: str  # session, user, key
    model: str
    state: str  # noted, slowed, paused
    at_ns: int
    until_ns: int  # 0: no pause
    told: str
    evidence: dict[str, int]


class UsedPrice(msgspec.Struct, frozen=True, array_like=True, tag="price"):
    """A price that a gateway prices by from now on: the writer's book may have another one when it reads the costs."""

    price: Price


class OtlpBody(msgspec.Struct, frozen=True, array_like=True, tag="otlp"):
    """An OTLP traces request, as received (decompressed), checked to parse."""

    tenant_id: int
    key_id: int
    received_ns: int
    content_type: str  # application/x-protobuf or application/json
    body: bytes


class NativeSpans(msgspec.Struct, frozen=True, array_like=True, tag="native"):
    """Spans posted to the REST API: JSON as received, checked against the schema."""

    tenant_id: int
    key_id: int
    received_ns: int
    body: bytes


class OtlpLogs(msgspec.Struct, frozen=True, array_like=True, tag="otlp_logs"):
    """An OTLP logs request of which some records carry prompts or answers, as received, checked to parse."""

    tenant_id: int
    key_id: int
    received_ns: int
    content_type: str
    body: bytes


Entry = Begin | End | Refused | Called | Braked | UsedPrice | OtlpBody | NativeSpans | OtlpLogs
