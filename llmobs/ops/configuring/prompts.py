"""The part `prompts`, of the file and of a tenant in it: registered prompts, their versions, labels and A/B tests.

1. Content that a version says already makes no new one, so that a second run changes nothing, and a promotion made
   elsewhere is not undone by the file that brought the first version.
2. New content becomes current, unless the file says `current` or `experiment`, lists `versions`, or a test runs.
3. An A/B test is started once: one that has ended since is not started again.
"""

import re
from typing import Any

from llmobs.ops.configuring.applying import Applying, at, named, refuse
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.prompts import changes
from llmobs.prompts.content import Content, ContentError, checked, text_messages
from llmobs.prompts.models import Prompt, PromptVersion
from llmobs.tenants.audit import Outcome
from llmobs.tenants.models import Tenant
from llmobs.tenants.problem import Conflict

_WITH_POINT = re.compile(r"-?\d+\.\d+")  # the file's reader leaves such numbers as texts, for the sake of money


class VersionEntry(Entry, frozen=True, kw_only=True):
    messages: list[dict[str, str]] = []
    text: str = ""
    model: str = ""
    params: dict[str, Any] = {}
    variables: dict[str, str | int | None] = {}
    note: str = ""


class VariantEntry(Entry, frozen=True, kw_only=True):
    version: int
    percentage: str | int | None = None


class ExperimentEntry(Entry, frozen=True, kw_only=True):
    variant: int | None = None
    variants: list[VariantEntry] = []
    control_percentage: str | int | None = None


class PromptFields(VersionEntry, frozen=True, kw_only=True):
    name: str
    versions: list[VersionEntry] = []
    labels: dict[str, int] = {}
    current: int | None = None
    experiment: ExperimentEntry | None = None


class PromptEntry(PromptFields, frozen=True, kw_only=True):
    tenant: str


def apply(applying: Applying, entry: PromptEntry, path: str) -> None:
    with at(path):
        tenant = named(Tenant, "tenant", slug=entry.tenant)
    apply_to_tenant(applying, tenant, entry, path)


def apply_to_tenant(applying: Applying, tenant: Tenant, entry: PromptFields, path: str) -> None:
    contents = _contents(entry, path)
    with at(path):
        prompt = Prompt.objects.filter(tenant=tenant, name=entry.name).first()
        outcome = Outcome.UNCHANGED if prompt else Outcome.CREATED
        if prompt is None:
            (first, note), *contents = contents
            prompt = changes.make(tenant, entry.name, first, applying.actor, note)
        new = _add_new(applying, prompt, contents)
        changed = [_label(applying, prompt, name, version, path) for name, version in entry.labels.items()]
        changed.append(_make_current(applying, prompt, entry, new, path))
        changed.append(_start_test(applying, prompt, entry.experiment, f"{path}.experiment"))
        if outcome is Outcome.UNCHANGED and (new or any(changed)):
            outcome = Outcome.CHANGED
        applying.tell(outcome, prompt)


def _contents(entry: PromptFields, path: str) -> list[tuple[Content, str]]:
    with at(path):
        if bool(entry.versions) == bool(entry.messages or entry.text):
            refuse("", "a prompt has messages, text, or a list of versions, one of the three")
    if not entry.versions:
        with at(path):
            return [_content(entry)]
    found = []
    for index, version in enumerate(entry.versions):
        with at(f"{path}.versions[{index}]"):
            found.append(_content(version))
    return found


def _content(entry: VersionEntry) -> tuple[Content, str]:
    if bool(entry.messages) == bool(entry.text):
        refuse("", "messages or text, one of the two")
    messages = [dict(message) for message in entry.messages] or text_messages(entry.text)
    variables = {name: None if value is None else str(value) for name, value in entry.variables.items()}
    try:
        return checked(Content(messages, entry.model, _numbers(entry.params), variables)), entry.note
    except ContentError as error:
        refuse(error.name, str(error))


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) and _WITH_POINT.fullmatch(value) else value


def _add_new(applying: Applying, prompt: Prompt, contents: list[tuple[Content, str]]) -> list[PromptVersion]:
    known = [version.content for version in prompt.versions.all()]
    return [
        changes.add_version(prompt, content, applying.actor, note) for content, note in contents if content not in known
    ]


def _label(applying: Applying, prompt: Prompt, name: str, version: int, path: str) -> bool:
    if prompt.labels.filter(name=name, version=version).exists():
        return False
    with at(f"{path}.labels.{name}"):
        changes.set_label(prompt, name, version, applying.actor)
    return True


def _make_current(applying: Applying, prompt: Prompt, entry: PromptFields, new: list[PromptVersion], path: str) -> bool:
    wanted = entry.current
    if wanted is None:
        if not new or entry.versions or entry.experiment is not None:
            return False
        if changes.running(prompt) is not None:
            applying.note(f"{path}: version {new[-1].number} is not current: a test of {prompt} is running")
            return False
        wanted = new[-1].number
    if wanted == prompt.current:
        return False
    if not changes.was_tested(prompt, wanted):
        applying.note(f"{path}: version {wanted} of {prompt} became current without an A/B test")
    try:
        changes.set_current(prompt, wanted, applying.actor)
    except Conflict as conflict:
        refuse("current", str(conflict.detail))
    return True


def _start_test(applying: Applying, prompt: Prompt, entry: ExperimentEntry | None, path: str) -> bool:
    if entry is None:
        return False
    if (entry.variant is None) == (not entry.variants):
        refuse("experiment", "variant, or variants with their percentages, one of the two")
    wanted: list[tuple[int, object]] = [(each.version, each.percentage) for each in entry.variants]
    if entry.variant is not None:
        wanted = [(entry.variant, None)]
    try:
        control, given = changes.shares(entry.control_percentage, [percentage for _, percentage in wanted])
    except ValueError as error:
        refuse("experiment", str(error))
    variants = [
        {"version": version, "percentage": str(share)} for (version, _), share in zip(wanted, given, strict=True)
    ]
    if prompt.experiments.filter(control_percentage=control, variants=variants).exists():
        return False
    with at(path):
        try:
            changes.start_test(prompt, wanted, applying.actor, entry.control_percentage)
        except Conflict as conflict:
            refuse("", str(conflict.detail))
    return True


_EXPLAINED = (
    "registered prompts: name, messages (role, content with {{variable}}) or text or versions (a list of such), model, "
    "params, variables (defaults), note, labels (name: version), current (a version), experiment (variant or variants "
    "with version and percentage, control_percentage)"
)
PROMPTS = Part(
    "prompts",
    PromptEntry,
    apply,
    named=lambda entry: f"{entry.tenant}/{entry.name}",
    explained=f"{_EXPLAINED}, tenant",
)
TENANT_PROMPTS = Part("prompts", PromptFields, apply_to_tenant, explained=_EXPLAINED)
