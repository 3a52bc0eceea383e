"""One client request on its way through the pipeline: each stage fills its own fields."""

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.dialects.dialect import Asked, Dialect
from gateway.errors import Headers
from llmobs.budgets.definition import Applied
from llmobs.core import semconv
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import KeyInfo, TenantInfo

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
    """How the attempt ended. `usage` None: the provider charged nothing."""

    __slots__ = (
        "cost_nanousd",
        "error_type",
        "finish_reasons",
        "http_status",
        "is_estimated",
        "is_truncated",
        "response_body",
        "response_id",
        "response_model",
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
        self.response_body = b""
        self.is_truncated = False


class Call:
    """One call. Fields stand in the order of the stages that fill them."""

    __slots__ = (
        "answer",
        "applied",
        "asked",
        "attempt",
        "attribution",
        "body",
        "candidate",
        "dialect",
        "first_byte_seconds",
        "has_begun",
        "headers",
        "held_nanousd",
        "held_usage",
        "is_client_gone",
        "is_held",
        "key",
        "left_nanousd",
        "outcome",
        "parent_span_id",
        "price",
        "receive",
        "refusal",
        "send",
        "span_id",
        "started",
        "started_ns",
        "tenant",
        "trace_id",
        "whole_seconds",
    )

    def __init__(
        self, dialect: Dialect, headers: dict[bytes, bytes], receive: Receive, send: Send, started_ns: int, started: int
    ) -> None:
        self.dialect = dialect
        self.headers = headers  # the last one of a name counts
        self.receive = receive
        self.send = send
        self.started_ns = started_ns  # wall clock
        self.started = started  # monotonic, ns
        # authenticate
        self.key: KeyInfo
        self.tenant: TenantInfo | None = None
        self.attribution = Attribution()
        self.trace_id = b""
        self.span_id = b""
        self.parent_span_id: bytes | None = None
        self.attempt = ""  # the span id in hexadecimal, as the ledger names it
        # parse
        self.body = b""
        self.asked: Asked | None = None
        self.first_byte_seconds = 0.0  # of a stream
        self.whole_seconds = 0.0  # of a whole answer
        # route
        self.candidate: CandidateInfo | None = None
        # admit
        self.price: Price | None = None
        self.held_usage = Usage()
        self.held_nanousd: int | None = None
        self.applied: tuple[tuple[Applied, int], ...] = ()
        self.is_held = False
        self.left_nanousd: int | None = None
        self.has_begun = False
        # forward
        self.outcome = Outcome()
        self.is_client_gone = False
        # at the end
        self.answer: Answer | None = None
        self.refusal: tuple[str, str, dict[str, str | int]] | None = None  # reason, message, details
