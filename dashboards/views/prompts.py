"""Prompts: which version is better, and at what price?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.http import HttpResponse

from dashboards import numbers
from dashboards.blocks import guarded
from dashboards.prompt_figures import Interval, Verdict, changed_lines, error_interval, score_interval, verdict
from dashboards.queries.prompts import (
    CallRow,
    PromptRow,
    VersionRow,
    how_they_did,
    newest_calls,
    prompts,
    versions_of,
)
from dashboards.views.frame import gateway_address
from dashboards.visit import Visit, page, show
from llmobs.prompts.results import Result

MOST_VERSIONS = 20
NOTHING = Result()


@dataclass(frozen=True)
class Row:
    """A prompt with the figures of its current version."""

    prompt: PromptRow
    tenant: str
    now: Result


@dataclass(frozen=True)
class Version:
    """A version with its figures."""

    row: VersionRow
    result: Result
    labels: list[str]


@dataclass(frozen=True)
class Arm:
    """An arm of the running test, since the test began."""

    number: int
    percentage: float
    result: Result
    verdict: Verdict | None  # None: control

    @property
    def errors(self) -> str:
        return _interval(error_interval(self.result), numbers.share)

    @property
    def scores(self) -> str:
        return _interval(score_interval(self.result), lambda value: f"{value:.2f}")


@dataclass(frozen=True)
class Selected:
    """The prompt that was chosen, one of its versions, and its running test."""

    prompt: PromptRow
    versions: list[Version]
    shown: VersionRow
    changed: list[tuple[str, str]]
    calls: list[CallRow]
    arms: list[Arm]


@page("prompts", default_window="7d")
def prompt_list(visit: Visit) -> HttpResponse:
    """All prompts, those under test first, and the selected one with its versions."""
    found = prompts(visit.cursor, visit.seen.tenant_ids)
    asked = visit.request.GET.get("prompt", "")
    chosen = next((row for row in found if str(row.id) == asked), found[0] if found else None)
    return show(
        visit,
        "dashboards/prompts.html",
        heading="Prompts",
        gateway=gateway_address(),
        rows=guarded(visit, "prompts", lambda: _rows(visit, found)),
        chosen=chosen,
        selected=guarded(visit, "versions", lambda: _selected(visit, chosen)) if chosen else None,
    )


def _rows(visit: Visit, found: Sequence[PromptRow]) -> list[Row]:
    wanted = sorted({row.reference(row.current) for row in found})
    did = how_they_did(visit.seen.tenant_ids, wanted, visit.window.start, visit.window.end)
    tenants = {tenant.pk: tenant.name for tenant in visit.seen.tenants}
    return [
        Row(row, tenants.get(row.tenant_id, ""), did.get((row.tenant_id, row.reference(row.current)), NOTHING))
        for row in found
    ]


def _selected(visit: Visit, prompt: PromptRow) -> Selected:
    rows = versions_of(visit.cursor, prompt, MOST_VERSIONS)
    wanted = [prompt.reference(row.number) for row in rows]
    did = how_they_did((prompt.tenant_id,), wanted, visit.window.start, visit.window.end)
    asked = visit.request.GET.get("version", "")
    current = next((row for row in rows if row.number == prompt.current), rows[0])
    shown = next((row for row in rows if str(row.number) == asked), rows[0])
    return Selected(
        prompt,
        [_version(prompt, row, did.get((prompt.tenant_id, prompt.reference(row.number)), NOTHING)) for row in rows],
        shown,
        changed_lines(current.messages, shown.messages),
        newest_calls(visit.cursor, prompt, shown.number, visit.window.start, visit.window.end),
        _arms(visit, prompt),
    )


def _version(prompt: PromptRow, row: VersionRow, result: Result) -> Version:
    return Version(row, result, [name for name, number in prompt.labels if number == row.number])


def _arms(visit: Visit, prompt: PromptRow) -> list[Arm]:
    test = prompt.test
    if test is None:
        return []
    wanted = [prompt.reference(number) for number, _ in test.arms]
    did = how_they_did((prompt.tenant_id,), wanted, test.started_at, visit.now)
    results = [did.get((prompt.tenant_id, reference), NOTHING) for reference in wanted]
    return [
        Arm(number, percentage, result, verdict(results[0], result) if index else None)
        for index, ((number, percentage), result) in enumerate(zip(test.arms, results, strict=True))
    ]


def _interval(found: Interval | None, write: Callable[[float], str]) -> str:
    return f"{write(found.low)} to {write(found.high)}" if found else ""
