"""The candidates of a route, replaced as a whole: an order has no parts that change alone."""

from llmobs.providers.models import Candidate, Route
from llmobs.tenants import audit


def replace_candidates(route: Route, wanted: list[Candidate], actor: str) -> bool:
    """Give a route these candidates in this order, with an audit entry; False where it has them already.

    Runs in the caller's transaction.
    """
    before = [str(candidate) for candidate in Candidate.objects.filter(route=route).select_related("provider")]
    for position, candidate in enumerate(wanted):
        candidate.route, candidate.position = route, position
    after = [str(candidate) for candidate in wanted]
    if after == before:
        return False
    Candidate.objects.filter(route=route).delete()
    Candidate.objects.bulk_create(wanted)
    audit.record(actor, "change", route, {"candidates": [before, after]})
    return True
