"""The file's part `judges`: who scores a sample of answers."""

from llmobs.evals.models import Judge
from llmobs.ops.configuring.applying import Applying, at, named, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import decimal
from llmobs.tenants.models import Key, Tenant


class JudgeEntry(Entry, frozen=True):
    name: str
    tenant: str
    model: str
    key: str
    sample: str | int
    criteria: list[str]
    feature: str = ""
    is_enabled: bool = True


def apply(applying: Applying, entry: JudgeEntry, path: str) -> None:
    with at(path):
        judge = row(Judge, tenant=named(Tenant, "tenant", slug=entry.tenant), name=entry.name)
        slug, _, name = entry.key.rpartition("/")
        judge.key = named(Key, "key", tenant__slug=slug or entry.tenant, name=name)
        judge.feature, judge.model, judge.is_enabled = entry.feature, entry.model, entry.is_enabled
        judge.sample, judge.criteria = decimal("sample", entry.sample), list(entry.criteria)
        applying.save(judge)


JUDGES = Part(
    "judges",
    JudgeEntry,
    apply,
    named=lambda entry: f"{entry.tenant}/{entry.name}",
    explained="who scores a sample of answers: name, tenant, model, key (NAME or SLUG/NAME), sample (0 to 1), "
    "criteria, feature, is_enabled",
)
