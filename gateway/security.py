"""What guards found is told: counted for Prometheus, flagged to the caller, and logged where it is blocked."""

import time
from collections.abc import Iterable

import structlog

from gateway.call import Call
from gateway.counts import Counts
from llmobs.ingest.entries import Finding

log = structlog.get_logger()


def tell(call: Call, findings: list[Finding], counts: Counts) -> None:
    """Count findings; what is blocked has a line in the log, without any text."""
    for finding in findings:
        counts.guarded[finding.kind, finding.action] += 1
    blocked = [finding for finding in findings if finding.action == "blocked"]
    if not blocked:
        return
    log.warning(
        "call blocked by a guard",
        event_type="security",
        trace_id=call.trace_id.hex(),
        span_id=call.span_id.hex(),
        tenant=call.tenant.slug if call.tenant is not None else "",
        feature=call.attribution.feature,
        user_id=call.attribution.user_id,
        model=call.asked.model if call.asked is not None else "",
        latency_ms=(time.monotonic_ns() - call.started) // 1_000_000,
        cost_nanousd=call.cost_nanousd,
        kind=blocked[0].kind,
        where=blocked[0].where,
        found=names(blocked),
        score_permille=max(finding.score_permille for finding in blocked),
    )


def flag(call: Call, findings: Iterable[Finding]) -> None:
    """Flagged findings are named to the caller, in a header of the answer."""
    flags = sorted({f"{f.kind}:{f.name}" for f in findings if f.action == "flagged"})
    if flags:
        call.own_headers.append((b"x-llmobs-flags", ", ".join(flags).encode()))


def names(findings: Iterable[Finding]) -> str:
    """The patterns' names, each once."""
    return ", ".join(sorted({finding.name for finding in findings}))
