"""Which candidates can answer a call, and in which order they are tried: for routing and for a budget's downgrade."""

import time

import msgspec

from gateway.call import Call
from gateway.dialects.dialect import BadRequest
from gateway.dialects.translation import translation
from gateway.errors import Refusal
from gateway.plane import Plane
from gateway.routing.strategies import Facts, plan, primary
from gateway.snapshot import Snapshot
from llmobs.guards.sensitive import CONFIDENTIAL
from llmobs.guards.signs import sensitivity
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo, RouteInfo

EXPECTED_OUTPUT_TOKENS = 512  # where a request sets no ceiling: only compares candidates with each other
BYTES_PER_TOKEN = 4


def ordered(call: Call, found: RouteInfo, plane: Plane, snapshot: Snapshot) -> tuple[CandidateInfo, ...]:
    """The route's candidates in the order in which this call tries them. Raises Refusal where none is reached."""
    asked, tenant, who = call.asked, call.tenant, call.attribution
    assert asked is not None
    assert tenant is not None
    candidates = reached(call, found.candidates)
    if len(candidates) < len(found.candidates):
        found = msgspec.structs.replace(found, candidates=candidates)
    facts = Facts(
        tenant_id=tenant.id,
        criticality=call.key.criticality,
        user=who.user_id,
        session=who.session_id,
        trace_id=call.trace_id,
        span_id=call.span_id,
        is_stream=asked.is_stream,
        is_confidential=(found.confidential_only_local or tenant.confidential_only_local) and is_confidential(call),
        usage=expected_usage(call),
    )

    def price(candidate: CandidateInfo) -> Price | None:
        return snapshot.book.price(tenant.id, candidate.provider.priced_as, candidate.model, call.started_ns)

    call.primary = primary(found, facts)
    return plan(found, facts, plane.health, price, plane.turns, time.monotonic())


def expected_usage(call: Call) -> Usage:
    """What the call may take: compares candidates with each other, and nothing more."""
    output = call.asked.most_output_tokens if call.asked is not None else None
    return Usage(
        uncached_input=len(call.body) // BYTES_PER_TOKEN + 1,
        output=output or EXPECTED_OUTPUT_TOKENS,
    )


def is_confidential(call: Call) -> bool:
    return sensitivity(call.body) == CONFIDENTIAL


def reached(call: Call, candidates: tuple[CandidateInfo, ...]) -> tuple[CandidateInfo, ...]:
    """Those that the call's format reaches, as it is or translated. Raises Refusal where there is none."""
    found, why = _looked_at(call, candidates)
    if not found:
        asked = call.asked.model if call.asked is not None else ""
        raise Refusal("invalid_request", f"the model {asked!r} is served by {candidates[0].provider.name}: {why}")
    return tuple(found) if len(found) < len(candidates) else candidates


def is_served(call: Call, candidates: tuple[CandidateInfo, ...]) -> bool:
    """Whether any of them has the call's operation."""
    return bool(_looked_at(call, candidates)[0])


def _looked_at(call: Call, candidates: tuple[CandidateInfo, ...]) -> tuple[list[CandidateInfo], str]:
    """Those that are reached, and why the first of the others is not."""
    found, why = [], ""
    for candidate in candidates:
        provider = candidate.provider
        try:
            translated = translation(call.dialect, provider.dialect, provider.serves)
        except BadRequest as error:
            why = why or str(error)
            continue
        serves = call.dialect.serves if translated is None else translated.speaks.serves
        if serves in provider.serves:
            found.append(candidate)
        else:
            why = why or f"it does not serve {serves} (its `serves` says what it does)"
    return found, why
