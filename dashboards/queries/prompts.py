"""Prompts: what there is of each, how each version did, and the newest calls of one."""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from dashboards.queries.scope import Cursor
from llmobs.prompts.results import Result, results
from llmobs.spans.shown import SOME_SHOWN
from llmobs.tenants.plain_connection import plain_connection

MOST_PROMPTS = 100
MOST_CALLS = 8
CALL_COLUMNS = ("trace_id", "start", "status", "duration_ns", "shown_nanousd", "is_estimated", "request_model")


@dataclass(frozen=True)
class RunningTest:
    """An A/B test that runs: its versions with their percentages, control first."""

    started_at: datetime
    arms: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class PromptRow:
    """A prompt of a tenant."""

    id: int
    tenant_id: int
    name: str
    current: int
    numbers: tuple[int, ...]
    labels: tuple[tuple[str, int], ...]
    test: RunningTest | None

    @property
    def latest(self) -> int:
        return self.numbers[-1] if self.numbers else 0

    def reference(self, number: int) -> str:
        return f"{self.name}@{number}"


@dataclass(frozen=True)
class VersionRow:
    """What a version says."""

    number: int
    messages: list[dict[str, str]]
    model: str
    note: str
    created_by: str
    created_at: datetime
    was_tested: bool


@dataclass(frozen=True)
class CallRow:
    """A call of a version."""

    trace_id: str
    start: datetime
    status: str
    duration_ns: int
    cost_nanousd: int | None
    is_estimated: bool
    request_model: str


def prompts(cursor: Cursor, tenant_ids: Sequence[int]) -> list[PromptRow]:
    """The tenants' prompts by name, those under test first."""
    cursor.execute(
        "SELECT p.id, p.tenant_id, p.name, p.current, "
        "coalesce((SELECT array_agg(v.number ORDER BY v.number) FROM prompts_promptversion v "
        "WHERE v.prompt_id = p.id), '{}'), "
        "coalesce((SELECT array_agg(l.name || '@' || l.version ORDER BY l.name) FROM prompts_label l "
        "WHERE l.prompt_id = p.id), '{}'), "
        "t.started_at, t.control, t.control_percentage, t.variants::text "
        "FROM prompts_prompt p LEFT JOIN prompts_experiment t ON t.prompt_id = p.id AND t.ended_at IS NULL "
        "WHERE p.tenant_id = ANY(%s) ORDER BY t.id IS NULL, p.name, p.id LIMIT %s",
        [list(tenant_ids), MOST_PROMPTS],
    )
    return [_prompt(row) for row in cursor.fetchall()]


def how_they_did(
    tenant_ids: Sequence[int], versions: Sequence[str], start: datetime, end: datetime
) -> dict[tuple[int, str], Result]:
    """Figures of these versions ("greet@3"), by tenant and version."""
    return results(plain_connection(), tenant_ids, versions, start, end) if versions else {}


def versions_of(cursor: Cursor, prompt: PromptRow, most: int) -> list[VersionRow]:
    """The newest versions of a prompt, newest first."""
    cursor.execute(
        "SELECT v.number, v.messages::text, v.model, v.note, v.created_by, v.created_at, EXISTS ("
        "SELECT FROM prompts_experiment t WHERE t.prompt_id = v.prompt_id AND (t.control = v.number "
        "OR t.variants @> jsonb_build_array(jsonb_build_object('version', v.number)))) "
        "FROM prompts_promptversion v JOIN prompts_prompt p ON p.id = v.prompt_id "
        "WHERE v.prompt_id = %s AND p.tenant_id = %s ORDER BY v.number DESC LIMIT %s",
        [prompt.id, prompt.tenant_id, most],
    )
    return [VersionRow(row[0], msgspec.json.decode(row[1]), *row[2:]) for row in cursor.fetchall()]


def newest_calls(cursor: Cursor, prompt: PromptRow, number: int, start: datetime, end: datetime) -> list[CallRow]:
    """The newest calls of a version in a window."""
    cursor.execute(
        f"SELECT {', '.join(CALL_COLUMNS)} FROM {SOME_SHOWN} span WHERE tenant_id = %s AND prompt_version = %s "
        "AND prompt_version <> '' AND start >= %s AND start < %s AND is_call ORDER BY start DESC LIMIT %s",
        [prompt.tenant_id, prompt.reference(number), start, end, MOST_CALLS],
    )
    return [CallRow(bytes(row[0]).hex(), *row[1:]) for row in cursor.fetchall()]


def _prompt(row: Sequence[Any]) -> PromptRow:
    prompt_id, tenant_id, name, current, numbers, labels, started_at, control, percentage, variants = row
    test = None
    if started_at is not None:
        tried = [(each["version"], float(each["percentage"])) for each in msgspec.json.decode(variants)]
        test = RunningTest(started_at, ((control, float(percentage)), *tried))
    labelled = tuple((text.partition("@")[0], int(text.partition("@")[2])) for text in labels)
    return PromptRow(prompt_id, tenant_id, name, current, tuple(numbers), labelled, test)
