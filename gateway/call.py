"""One client request on its way through the pipeline, and its attempts: each stage fills its own fields."""

from typing import Any

import msgspec

from gateway.connection import Connection, NeverSent
from gateway.dialects.dialect import Asked, BadRequest, Dialect
from gateway.dialects.translation import Translation
from gateway.door import Door
from gateway.errors import Headers, Refusal
from gateway.routing.cell import Verdict
from llmobs.budgets.definition import Applied
from llmobs.core import semconv
from llmobs.core.ids import new_span_id
from llmobs.ingest.entries import Entry, Finding
from llmobs.ingest.journal import JournalError
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo, RouteInfo
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import KeyInfo, TenantInfo

COUNT_TOKENS = "count_tokens"


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


class Outcome(msgspec.Struct):
    """How an attempt ended. `usage` None: the provider charged nothing."""

    status: str = semconv.FAILED
    error_type: str = ""
    http_status: int = 0
    response_model: str = ""
    response_id: str = ""
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    is_estimated: bool = False
    cost_nanousd: int | None = None
    price_version: str = ""
    stated_nanousd: int | None = None
    ttft_ns: int | None = None
    retry_after_s: float | None = None  # as the provider asked
    may_retry: bool = True  # unless the provider says that it is of no use
    response_body: bytes = b""  # the provider's own bytes
    is_truncated: bool = False


class Attempt(msgspec.Struct):
    """One try at one candidate. Fields stand in the order in which they are filled."""

    span_id: bytes
    id: str  # in hexadecimal, as the ledger names it
    candidate: CandidateInfo
    speaks: Dialect  # in which the provider is spoken to
    translation: Translation | None  # None: the caller's own format, bytes pass untouched
    number: int
    started_ns: int  # wall clock
    started: int  # monotonic, ns
    is_billed: bool  # providers charge for the operation
    body: bytes = b""  # translated, where it is
    streams: bool = False  # the provider is asked for a stream
    credential: int = 0  # which of the provider's
    # admission
    price: Price | None = None
    held_usage: Usage = Usage()
    held_nanousd: int | None = None
    unpriced_nanousd: int = 0  # held instead, where that is None: what the key says
    applying: tuple[Applied, ...] = ()
    applied: tuple[tuple[Applied, int], ...] = ()
    usual: Any = None  # the forms (gateway/forms.py) by which it was admitted
    is_held: bool = False
    connection: Connection | None = None
    unrecorded: str = ""  # why Begin could not be journalled after all: it is not sent
    goes_unrecorded: bool = False  # it could not, and it is sent all the same: neither a span nor a bill comes of it
    has_begun: bool = False
    verdict: Verdict | None = None  # of the candidate's breaker
    # the exchange
    outcome: Outcome = msgspec.field(default_factory=Outcome)
    answer: Answer | None = None
    findings: list[Finding] = []  # of the output's guard
    is_recorded: bool = False

    def not_begun(self, entry: Entry, error: JournalError) -> None:
        """The journal did not take Begin: what is not out yet stays here."""
        self.unrecorded = str(error)
        if self.connection is not None:
            self.connection.take_back(NeverSent(self.unrecorded))

    def go_unrecorded(self) -> None:
        """The journal did not take Begin, and the policy is to send it (LLMOBS_UNRECORDED)."""
        self.goes_unrecorded = True
        self.usual = None  # what it holds goes back: no bill will take its place


class Call(msgspec.Struct):
    """One client request. Fields stand in the order of the stages that fill them."""

    dialect: Dialect
    headers: dict[bytes, bytes]  # the last one of a name counts
    door: Door
    started_ns: int  # wall clock
    started: int  # monotonic, ns
    # authenticate
    key: KeyInfo = None  # type: ignore[assignment]  # until then nobody asks for it
    tenant: TenantInfo | None = None
    attribution: Attribution = Attribution()
    trace_id: bytes = b""
    span_id: bytes = b""  # the first attempt's too, unless there are several
    parent_span_id: bytes | None = None
    # parse
    body: bytes = b""
    asked: Asked | None = None
    first_byte_seconds: float = 0.0  # of a stream
    whole_seconds: float = 0.0  # of a whole answer
    # brake
    braking: Any = None  # what is remembered of its session
    # guard, prompt
    findings: list[Finding] = []
    output_guard: Any = None
    prompt_version: str = ""
    # route
    route: RouteInfo | None = None
    candidates: tuple[CandidateInfo, ...] = ()
    primary: CandidateInfo | None = None  # who would answer if all were well; None: whoever is first
    # admit
    limits: Any = None  # what was taken of them
    cache: str = "off"  # as the header says: hit-exact, stale, miss, off
    cached: Any = None  # where the answer is kept, and whether it was there
    left_nanousd: int | None = None
    # forward
    attempts: list[Attempt] = []
    attempt: Attempt | None = None
    is_client_gone: bool = False
    degraded: str = ""  # why the answer is not the primary's
    answered_id: str = ""  # the response id of an answer that is no attempt's: the cache's, or a static one
    # at the end
    answer: Answer | None = None
    own_headers: Headers = []  # what stages tell the caller
    refusal: tuple[str, str, dict[str, str | int]] | None = None  # reason, message, details

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
