"""One client request on its way through the pipeline, and its attempts: each stage fills its own fields."""

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.dialects.dialect import Asked, BadRequest, Dialect
from gateway.dialects.translation import Translation
from gateway.errors import Headers, Refusal
from gateway.one_write import Door
from gateway.routing.cell import Verdict
from llmobs.budgets.definition import Applied
from llmobs.core import semconv
from llmobs.core.ids import new_span_id
from llmobs.ingest.entries import Finding
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo, RouteInfo
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import KeyInfo, TenantInfo

COUNT_TOKENS = "count_tokens"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Answer:
    """What goes back to the client last: a whole response, or a stream's last bytes.

    `status` 0: the response has begun already. `is_stream`: the body is the end of a stream that may tell its cost.
    """

    __slots__ = ("body", "headers", "is_stream", "status")

    def __init__(self, status: int, headers: Headers, body: bytes, is_stream: bool = False) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.is_stream = is_stream


class Outcome:
    """How an attempt ended. `usage` None: the provider charged nothing."""

    __slots__ = (
        "cost_nanousd",
        "error_type",
        "finish_reasons",
        "http_status",
        "is_estimated",
        "is_truncated",
        "may_retry",
        "response_body",
        "response_id",
        "response_model",
        "retry_after_s",
        "status",
        "ttft_ns",
        "usage",
    )

    def __init__(self) -> None:
        self.status = semconv.FAILED
        self.error_type = ""
        self.http_status = 0
        self.response_model = ""
        self.response_id = ""
        self.finish_reasons: tuple[str, ...] = ()
        self.usage: Usage | None = None
        self.is_estimated = False
        self.cost_nanousd: int | None = None
        self.ttft_ns: int | None = None
        self.retry_after_s: float | None = None  # as the provider asked
        self.may_retry = True  # unless the provider says that it is of no use
        self.response_body = b""  # the provider's own bytes
        self.is_truncated = False


class Attempt:
    """One try at one candidate. Fields stand in the order in which they are filled."""

    __slots__ = (
        "answer",
        "applied",
        "body",
        "candidate",
        "credential",
        "findings",
        "has_begun",
        "held_nanousd",
        "held_usage",
        "id",
        "is_billed",
        "is_held",
        "is_recorded",
        "number",
        "outcome",
        "price",
        "span_id",
        "speaks",
        "started",
        "started_ns",
        "streams",
        "translation",
        "verdict",
    )

    def __init__(
        self,
        span_id: bytes,
        candidate: CandidateInfo,
        speaks: Dialect,
        translation: Translation | None,
        number: int,
        started_ns: int,
        started: int,
    ) -> None:
        self.span_id = span_id
        self.id = span_id.hex()  # as the ledger names it
        self.candidate = candidate
        self.speaks = speaks  # in which the provider is spoken to
        self.translation = translation  # None: the caller's own format, bytes pass untouched
        self.body = b""  # translated, where it is
        self.streams = False  # the provider is asked for a stream
        self.number = number
        self.started_ns = started_ns  # wall clock
        self.started = started  # monotonic, ns
        self.is_billed = speaks.serves != COUNT_TOKENS  # providers charge for it
        self.credential = 0  # which of the provider's
        # admission
        self.price: Price | None = None
        self.held_usage = Usage()
        self.held_nanousd: int | None = None
        self.applied: tuple[tuple[Applied, int], ...] = ()
        self.is_held = False
        self.has_begun = False
        self.verdict: Verdict | None = None  # of the candidate's breaker
        # the exchange
        self.outcome = Outcome()
        self.answer: Answer | None = None
        self.findings: list[Finding] = []  # of the output's guard
        self.is_recorded = False


class Call:
    """One client request. Fields stand in the order of the stages that fill them."""

    __slots__ = (
        "answer",
        "asked",
        "attempt",
        "attempts",
        "attribution",
        "body",
        "cache",
        "cached",
        "candidates",
        "client",
        "degraded",
        "dialect",
        "door",
        "findings",
        "first_byte_seconds",
        "headers",
        "is_client_gone",
        "key",
        "left_nanousd",
        "limits",
        "output_guard",
        "own_headers",
        "parent_span_id",
        "primary",
        "prompt_version",
        "receive",
        "refusal",
        "route",
        "send",
        "span_id",
        "started",
        "started_ns",
        "tenant",
        "trace_id",
        "whole_seconds",
    )

    def __init__(
        self,
        dialect: Dialect,
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        started_ns: int,
        started: int,
        client: tuple[str, int] | None = None,
    ) -> None:
        self.dialect = dialect
        self.headers = headers  # the last one of a name counts
        self.receive = receive
        self.send = send
        self.started_ns = started_ns  # wall clock
        self.started = started  # monotonic, ns
        self.client = client  # address of the connection
        self.door: Door | None = None  # where a whole answer goes at once
        # authenticate
        self.key: KeyInfo
        self.tenant: TenantInfo | None = None
        self.attribution = Attribution()
        self.trace_id = b""
        self.span_id = b""  # the first attempt's too, unless there are several
        self.parent_span_id: bytes | None = None
        # parse
        self.body = b""
        self.asked: Asked | None = None
        self.first_byte_seconds = 0.0  # of a stream
        self.whole_seconds = 0.0  # of a whole answer
        # guard, prompt
        self.findings: list[Finding] = []
        self.output_guard: Any = None
        self.prompt_version = ""
        # route
        self.route: RouteInfo | None = None
        self.candidates: tuple[CandidateInfo, ...] = ()
        self.primary: CandidateInfo | None = None  # who would answer if all were well; None: whoever is first
        # admit
        self.limits: Any = None  # what was taken of them
        self.cache = "off"  # as the header says: hit-exact, stale, miss, off
        self.cached: Any = None  # where the answer is kept, and whether it was there
        self.left_nanousd: int | None = None
        # forward
        self.attempts: list[Attempt] = []
        self.attempt: Attempt | None = None
        self.is_client_gone = False
        self.degraded = ""  # why the answer is not the primary's
        # at the end
        self.answer: Answer | None = None
        self.own_headers: Headers = []  # what stages tell the caller
        self.refusal: tuple[str, str, dict[str, str | int]] | None = None  # reason, message, details

    def rewrite(self, body: bytes) -> None:
        """Another body in the place of the caller's. Raises Refusal where it is no request."""
        try:
            asked = self.dialect.read(body)
        except BadRequest as error:
            raise Refusal("invalid_request", f"the body is not a valid request: {error}") from None
        self.body, self.asked = body, asked

    def attempt_span_id(self) -> bytes:
        """The id of the next attempt's span: the call's own for the first."""
        return new_span_id() if self.attempts else self.span_id

    def goes_on(self) -> None:
        """It will not end with its first attempt: it has a span of its own now, and attempts are its children."""
        if self.attempts[0].span_id == self.span_id:
            self.span_id = new_span_id()

    @property
    def is_one_attempt(self) -> bool:
        """Its only attempt's span tells it all."""
        return bool(self.attempts) and self.attempts[0].span_id == self.span_id

    @property
    def cost_nanousd(self) -> int | None:
        """What all its attempts cost so far; None: one of them has no known cost."""
        if len(self.attempts) == 1 and not self.degraded:
            return self.attempts[0].outcome.cost_nanousd
        total = 0
        for attempt in self.attempts:
            outcome = attempt.outcome
            if outcome.usage is not None:
                if outcome.cost_nanousd is None:
                    return None
                total += outcome.cost_nanousd
        return total if self.attempts or self.cache != "off" or self.degraded else None
