"""The file's part `routes`: names that clients put into "model"."""

from typing import Literal

from llmobs.ops.configuring.applying import Applying, at, named, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import number
from llmobs.providers.candidates import replace_candidates
from llmobs.providers.models import Candidate, Provider, Route
from llmobs.tenants import audit
from llmobs.tenants.audit import Outcome


class CandidateEntry(Entry, frozen=True):
    provider: str
    model: str
    weight: int | str = 1
    quality: int | str | None = None
    canary_percent: int | str = 0


class RouteEntry(Entry, frozen=True):
    name: str
    candidates: list[CandidateEntry]
    strategy: Literal["fallback", "weighted", "cheapest", "fastest", "cascade"] = "fallback"
    quality_floor: int | str = 0
    last_resort: list[Literal["stale_cache", "static"]] = []
    static_text: str = ""
    tasks: list[str] = []
    hedge_after_ms: int = 0
    most_output_tokens: int | None = None
    cascade_threshold: int | str = "0.5"
    cascade_scorer: str = ""
    salt: str = ""
    confidential_only_local: bool = False


AS_GIVEN = (
    "strategy", "static_text", "hedge_after_ms", "most_output_tokens", "cascade_scorer", "salt",
    "confidential_only_local",
)  # fmt: skip


def apply(applying: Applying, entry: RouteEntry, path: str) -> None:
    with at(path):
        route = row(Route, name=entry.name)
        for name in AS_GIVEN:
            setattr(route, name, getattr(entry, name))
        route.quality_floor = number("quality_floor", entry.quality_floor)
        route.cascade_threshold = number("cascade_threshold", entry.cascade_threshold)
        route.last_resort, route.tasks = list(entry.last_resort), list(entry.tasks)
        if not entry.candidates:
            refuse("candidates", "a route has at least one candidate")
        outcome = audit.save(route, applying.actor)
    wanted = []
    for position, candidate in enumerate(entry.candidates):
        with at(f"{path}.candidates[{position}]"):
            wanted.append(_candidate(route, position, candidate))
    with at(path):
        is_changed = replace_candidates(route, wanted, applying.actor)
    applying.tell(Outcome.CHANGED if is_changed and outcome is Outcome.UNCHANGED else outcome, route)


def _candidate(route: Route, position: int, entry: CandidateEntry) -> Candidate:
    candidate = Candidate(
        route=route,
        provider=named(Provider, "provider", name=entry.provider),
        model=entry.model,
        position=position,
        weight=number("weight", entry.weight),
        quality=None if entry.quality is None else number("quality", entry.quality),
        canary_percent=number("canary_percent", entry.canary_percent),
    )
    candidate.full_clean(validate_constraints=False)
    return candidate


ROUTES = Part(
    "routes",
    RouteEntry,
    apply,
    explained='names that clients put into "model": name, candidates (provider, model, weight, quality 0 to 1, '
    "canary_percent), strategy (fallback, weighted, cheapest, fastest, cascade), quality_floor, last_resort "
    "(stale_cache, static), static_text, tasks (answered where the model is auto), hedge_after_ms, most_output_tokens, "
    "cascade_threshold, cascade_scorer (a route), salt, confidential_only_local",
)
