"""What an attempt that came to its end says to retries and breakers, whatever way it failed."""

from gateway.errors import AttemptFailed, ProviderGarbage, ProviderMisconfigured, ProviderTimeout, ProviderUnavailable
from gateway.routing.retrying import (
    CUT,
    FAILING,
    GARBAGE,
    MISCONFIGURED,
    TIMED_OUT,
    UNREACHABLE,
    Tried,
    kind_of_status,
)


def of_failure(failure: AttemptFailed, status: int = 0, retry_after_s: float | None = None) -> Tried:
    """No answer came. `status`: what the provider said all the same, 200 where its stream began with an error."""
    if isinstance(failure, ProviderTimeout):
        return Tried(TIMED_OUT, status, retry_after_s)
    if isinstance(failure, ProviderGarbage):
        return Tried(GARBAGE, status, retry_after_s)
    if isinstance(failure, ProviderMisconfigured):
        return Tried(MISCONFIGURED, status)
    if isinstance(failure, ProviderUnavailable):
        return Tried(CUT if failure.may_be_billed else UNREACHABLE, status, retry_after_s)
    return Tried(FAILING, status, retry_after_s)


def of_status(
    status: int, error_type: str = "", retry_after_s: float | None = None, may_retry: bool = True
) -> Tried | None:
    """The provider's own error; None: it is none."""
    if status < 400:
        return None
    return Tried(kind_of_status(status, error_type), status, retry_after_s, may_retry=may_retry)
