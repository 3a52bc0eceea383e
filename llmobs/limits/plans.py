"""What each plan brings: quotas and caps per request, for a tenant that set none of the same kind itself.

A plan is a set of limits like any other, so nothing else knows of plans. Figures: REQUIREMENTS S3-14 and S3-15.
"""

from dataclasses import dataclass

from llmobs.limits.units import DAY, EACH, INPUT_TOKENS, OUTPUT_TOKENS, REQUEST, TOKENS

Scope = tuple[tuple[str, str], ...]

EACH_USER: Scope = (("user", EACH),)
WHOLE_TENANT: Scope = ()


@dataclass(frozen=True, slots=True)
class PlanLimit:
    """A limit that comes with a plan."""

    unit: str
    per: str
    limit: int
    scope: Scope


PLANS: dict[str, tuple[PlanLimit, ...]] = {
    "none": (),
    "free": (
        PlanLimit(TOKENS, DAY, 50_000, EACH_USER),
        PlanLimit(INPUT_TOKENS, REQUEST, 4_096, WHOLE_TENANT),
        PlanLimit(OUTPUT_TOKENS, REQUEST, 1_024, WHOLE_TENANT),
    ),
    "paid": (PlanLimit(TOKENS, DAY, 500_000, EACH_USER),),
}
