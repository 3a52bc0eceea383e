"""How a call ends without its answer, and the one place that says how each reason looks in each wire format.

GatewayError
├── Refusal              our own no: nothing was sent upstream
└── AttemptFailed        the provider's: it was tried, and
    ├── ProviderTimeout      did not answer in time
    ├── ProviderUnavailable  could not be reached, or broke off
    │   └── ProviderMisconfigured  cannot be called as it is set up here
    ├── ProviderGarbage      answered with what is no answer
    └── ProviderFailed       said an error in the place of an answer
"""

from dataclasses import dataclass, field

import msgspec

from llmobs.budgets.definition import BudgetInfo

OPENAI, ANTHROPIC = "openai", "anthropic"
Headers = list[tuple[bytes, bytes]]

RETRY_AFTER_SECONDS = 1  # the ledger recovers, and a journal is drained, within a second or two


class GatewayError(Exception):
    """A call's end that has a reason of INTERFACE.md. The message is shown to the caller."""

    reason = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.headers: Headers = []
        self.told: dict[str, object] | None = None


class Refusal(GatewayError):
    """Our own no. `details` go to the journal, and name both numbers where a limit was passed; `told` into the error's
    body beside its message. `budget`: the one that has nothing left, and may say what is to be done instead.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        details: dict[str, str | int] | None = None,
        headers: Headers | None = None,
        budget: BudgetInfo | None = None,
        told: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = details or {}
        self.headers = headers or []
        self.budget = budget
        self.told = told


def not_recorded(why: str) -> Refusal:
    """The journal does not take a call: it must not be sent."""
    return Refusal("journal_full", f"the call cannot be recorded, so it is not sent: {why}")


class AttemptFailed(GatewayError):
    """The provider did not give an answer. `may_be_billed`: it may have begun to work."""

    def __init__(self, message: str, may_be_billed: bool = True) -> None:
        super().__init__(message)
        self.may_be_billed = may_be_billed


class ProviderTimeout(AttemptFailed):
    """No first byte, or no whole answer, in time."""

    reason = "provider_timeout"


class ProviderUnavailable(AttemptFailed):
    """No connection, or one that ended before an answer."""

    reason = "provider_unavailable"


class ProviderMisconfigured(ProviderUnavailable):
    """No credential, no address, a certificate that nobody vouches for: no fault of the provider's, no retry helps."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_be_billed=False)


class ProviderGarbage(AttemptFailed):
    """Bytes that are no answer of the provider's format."""

    reason = "provider_garbage"


class ProviderFailed(AttemptFailed):
    """An error where an answer should be: the beginning of a stream, a body under status 200."""

    reason = "provider_error"


@dataclass(frozen=True, slots=True)
class Face:
    """A reason as the outside sees it: status, code and type for OpenAI's format; status and type for Anthropic's."""

    openai: tuple[int, str, str]
    anthropic: tuple[int, str]
    headers: Headers = field(default_factory=list)


_RETRY: Headers = [(b"retry-after", str(RETRY_AFTER_SECONDS).encode())]
_FINAL: Headers = [(b"x-should-retry", b"false")]
_INVALID = "invalid_request_error"
_KEY = Face((401, "invalid_api_key", _INVALID), (401, "authentication_error"))
_BAD = Face((400, "invalid_request", _INVALID), (400, _INVALID))
_POLICY = Face((400, "content_policy_violation", _INVALID), (400, _INVALID))
_RATE = Face((429, "rate_limit_exceeded", "rate_limit_exceeded"), (429, "rate_limit_error"))

FACES = {
    "invalid_key": _KEY,
    "revoked_key": _KEY,
    "model_not_allowed": Face((403, "model_not_allowed", "permission_error"), (403, "permission_error")),
    "unknown_model": Face((404, "model_not_found", _INVALID), (404, "not_found_error")),
    "not_found": Face((404, "not_found", _INVALID), (404, "not_found_error")),
    "method_not_allowed": Face((405, "method_not_allowed", _INVALID), (405, _INVALID)),
    "invalid_request": _BAD,
    "client_gone": Face((499, "client_closed_request", _INVALID), (499, _INVALID)),
    "too_large": Face((413, "request_too_large", _INVALID), (413, "request_too_large")),
    "token_limit": Face((400, "context_length_exceeded", _INVALID), (400, _INVALID)),
    "prompt_injection": _POLICY,
    "sensitive_data": _POLICY,
    "rate_limited_global": _RATE,
    "rate_limited_tenant": _RATE,
    "rate_limited_key": _RATE,
    "rate_limited_user": _RATE,
    "quota_exhausted": Face((429, "insufficient_quota", "insufficient_quota"), (429, "rate_limit_error"), _FINAL),
    "runaway_slowed": _RATE,
    "runaway_paused": Face((429, "insufficient_quota", "insufficient_quota"), (402, "billing_error"), _FINAL),
    "budget_unavailable": Face((503, "budget_unavailable", "server_error"), (529, "overloaded_error"), _RETRY),
    "journal_full": Face((503, "journal_full", "server_error"), (529, "overloaded_error"), _RETRY),
    "not_ready": Face((503, "not_ready", "server_error"), (529, "overloaded_error"), _RETRY),
    "unpriced_model": Face((403, "unpriced_model", "permission_error"), (403, "permission_error")),
    "budget_exhausted": Face((429, "insufficient_quota", "insufficient_quota"), (402, "billing_error"), _FINAL),
    "provider_error": Face((502, "provider_error", "server_error"), (502, "api_error")),
    "provider_timeout": Face((504, "provider_timeout", "server_error"), (504, "timeout_error")),
    "provider_unavailable": Face((503, "provider_unavailable", "server_error"), (529, "overloaded_error")),
    "provider_garbage": Face((502, "provider_garbage", "server_error"), (502, "api_error")),
    "internal": Face((500, "internal_error", "server_error"), (500, "api_error")),
}


def error_response(
    reason: str, message: str, dialect: str, told: dict[str, object] | None = None
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a reason in the caller's format. `told`: more fields of the error object."""
    face = FACES[reason]
    status, body = _anthropic(face, message, told) if dialect == ANTHROPIC else _openai(face, message, told)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-llmobs-reason", reason.encode()),
        *face.headers,
    ]
    return status, headers, body


def error_event(reason: str, message: str, dialect: str) -> bytes:
    """The same as the last event of a stream that has begun: both SDKs raise on it."""
    face = FACES[reason]
    if dialect == ANTHROPIC:
        return b"event: error\ndata: " + _anthropic(face, message)[1] + b"\n\n"
    return b"data: " + _openai(face, message)[1] + b"\n\n"


def _openai(face: Face, message: str, told: dict[str, object] | None = None) -> tuple[int, bytes]:
    status, code, kind = face.openai
    error = {"message": message, "type": kind, "param": None, "code": code, **(told or {})}
    return status, msgspec.json.encode({"error": error})


def _anthropic(face: Face, message: str, told: dict[str, object] | None = None) -> tuple[int, bytes]:
    status, kind = face.anthropic
    return status, msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message, **(told or {})}})
