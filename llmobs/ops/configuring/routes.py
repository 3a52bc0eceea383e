"""The file's part `routes`: names that clients put into "model"."""

from typing import Literal

from llmobs.ops.configuring.applying import Applying, at, named, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.providers.candidates import replace_candidates
from llmobs.providers.models import Candidate, Provider, Route
from llmobs.tenants import audit
from llmobs.tenants.audit import Outcome


class CandidateEntry(Entry, frozen=True):
    provider: str
    model: str
    weight: int | str = 1  # the strategy `weighted` alone reads it


class RouteEntry(Entry, frozen=True):
    name: str
    candidates: list[CandidateEntry]
    strategy: Literal["fallback"] = "fallback"


def apply(applying: Applying, entry: RouteEntry, path: str) -> None:
    with at(path):
        route = row(Route, name=entry.name)
        route.strategy = entry.strategy
        if not entry.candidates:
            refuse("candidates", "a route has at least one candidate")
        outcome = audit.save(route, applying.actor)
    wanted = []
    for position, candidate in enumerate(entry.candidates):
        with at(f"{path}.candidates[{position}]"):
            provider = named(Provider, "provider", name=candidate.provider)
            wanted.append(Candidate(route=route, provider=provider, model=candidate.model, position=position))
            wanted[-1].full_clean(validate_constraints=False)
    if replace_candidates(route, wanted, applying.actor) and outcome is Outcome.UNCHANGED:
        outcome = Outcome.CHANGED
    applying.tell(outcome, route)


ROUTES = Part(
    "routes",
    RouteEntry,
    apply,
    explained='names that clients put into "model": name, candidates (provider, model), strategy (fallback)',
)
