"""The record of a bill: what one provider response, or the correction of one, adds to what was spent."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from llmobs.core import semconv
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

MEASURED = "measured"
ESTIMATED = "estimated"
ABANDONED = "abandoned"
REVERSAL = "reversal"
ADJUSTMENT = "adjustment"


class HoldLike(Protocol):
    """What an attempt held of one budget (`ingest.entries.Hold`)."""

    @property
    def budget_id(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def value(self) -> str: ...
    @property
    def window_start_s(self) -> int: ...
    @property
    def amount(self) -> int: ...


class Bill(msgspec.Struct, frozen=True):
    """One row of `bill`. `cost_nanousd` None is unpriced. `holds`: of a gateway's attempt, else empty.

    `response_id`: of a gateway's attempt, by which its bill is held against the provider's. Of a report it would be
    the dearest text of the row, and nothing asks for it there: its span has it.
    """

    tenant_id: int
    bill_id: int
    begin_ns: int
    trace_id: bytes
    span_id: bytes
    kind: str
    reason: str
    source: int
    requests: int
    provider_name: str
    model: str
    response_id: str
    usage: Usage
    cost_nanousd: int | None
    price_version: str
    held_nanousd: int
    attribution: Attribution
    holds: Sequence[HoldLike] = ()
    prompt_version: str = ""

    @property
    def tokens(self) -> int:
        """What it takes of a budget in tokens (negative for a reversal)."""
        return self.usage.total

    @property
    def taken_nanousd(self) -> int:
        """What it takes of a budget in USD: its cost; as long as it has none, what its attempt held."""
        return self.held_nanousd if self.cost_nanousd is None else self.cost_nanousd

    @property
    def attempt(self) -> str:
        """The attempt as the ledger names it: its span id in hexadecimal."""
        return self.span_id.hex()


def bill_of(span: Span, bill_id: int, reason: str = "", holds: Sequence[HoldLike] = ()) -> Bill:
    """The bill of a counted call whose usage is known."""
    assert span.usage is not None, "a call without usage was not charged, or nobody knows"
    kind = MEASURED
    if span.is_estimated:
        kind = ABANDONED if span.status == semconv.ABANDONED else ESTIMATED
    return Bill(
        tenant_id=span.tenant_id,
        bill_id=bill_id,
        begin_ns=span.start_ns,
        trace_id=span.trace_id,
        span_id=span.span_id,
        kind=kind,
        reason=reason,
        source=span.source,
        requests=1,
        provider_name=span.provider_name,
        model=span.model,
        response_id=span.response_id if span.source == semconv.SOURCE_GATEWAY else "",
        usage=span.usage,
        cost_nanousd=span.cost_nanousd,
        price_version=span.price_version,
        held_nanousd=span.held_nanousd,
        attribution=span.attribution,
        holds=holds,
        prompt_version=span.prompt_version,
    )


def reversal_of(bill: Bill, bill_id: int, reason: str) -> Bill:
    """The bill that takes another back: all figures negative, in the same windows."""
    return replace(
        bill,
        bill_id=bill_id,
        kind=REVERSAL,
        reason=reason,
        requests=-bill.requests,
        usage=bill.usage.negated(),
        cost_nanousd=None if bill.cost_nanousd is None else -bill.cost_nanousd,
        held_nanousd=-bill.held_nanousd,
        holds=(),
    )
