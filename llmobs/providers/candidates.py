"""The candidates of a route, replaced as a whole: an order has no parts that change alone."""

from django.core.exceptions import ValidationError

from llmobs.providers.models import Candidate, Route
from llmobs.tenants import audit


def replace_candidates(route: Route, wanted: list[Candidate], actor: str) -> bool:
    """Give a route these candidates in this order, with an audit entry; False where it has them already.

    Runs in the caller's transaction. Raises ValidationError where they do not fit together.
    """
    before = [_told(candidate) for candidate in Candidate.objects.filter(route=route).select_related("provider")]
    for position, candidate in enumerate(wanted):
        candidate.route, candidate.position = route, position
    _check(route, wanted)
    after = [_told(candidate) for candidate in wanted]
    if after == before:
        return False
    Candidate.objects.filter(route=route).delete()
    Candidate.objects.bulk_create(wanted)
    audit.record(actor, "change", route, {"candidates": [before, after]})
    return True


def _check(route: Route, wanted: list[Candidate]) -> None:
    for candidate in wanted:
        candidate.clean()
    if sum(candidate.canary_percent for candidate in wanted) > 100:
        raise ValidationError("Canaries of more than 100 % of the users.")
    if route.strategy == Route.Strategy.WEIGHTED and not any(candidate.weight for candidate in wanted):
        raise ValidationError("A weighted route has a candidate with a weight above 0.")
    if route.quality_floor and not any((candidate.quality or 0) >= route.quality_floor for candidate in wanted):
        raise ValidationError(f"No candidate has a quality of {route.quality_floor:g} or more, as quality_floor asks.")


def _told(candidate: Candidate) -> str:
    """The candidate with what it has beyond a plain one: `openai/gpt-4o weight 2`."""
    told = str(candidate)
    if candidate.weight != 1:
        told += f" weight {candidate.weight:g}"
    if candidate.quality is not None:
        told += f" quality {candidate.quality:g}"
    if candidate.canary_percent:
        told += f" canary {candidate.canary_percent:g} %"
    return told
