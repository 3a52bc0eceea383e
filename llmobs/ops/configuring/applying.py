"""What every part's applying function works with: rows by name, saving with an audit entry, errors with their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Model

from llmobs.ops.configuring.entry import ConfigurationError, Problem
from llmobs.tenants import audit
from llmobs.tenants.audit import Outcome

M = TypeVar("M", bound=Model)

# Names of the file for fields that the tables call otherwise.
FILE_NAMES = {
    "limit_nanousd": "limit_usd",
    "unpriced_nanousd": "unpriced_usd",
    "cache_ttl_seconds": "ttl_seconds",
    "cache_mb": "most_mb",
    "content_retention_days": "content_days",
    "rollup_retention_days": "rollup_days",
    "bill_retention_days": "bill_days",
}


@dataclass(frozen=True)
class Applied:
    """What became of one entry."""

    outcome: Outcome
    kind: str
    name: str


@dataclass
class Report:
    """What `apply` did. `secrets` are new keys by name, to be shown once and never kept."""

    applied: list[Applied] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        return sum(1 for entry in self.applied if entry.outcome is outcome)

    @property
    def has_changes(self) -> bool:
        return any(entry.outcome is not Outcome.UNCHANGED for entry in self.applied)


@dataclass
class Applying:
    """One run of `apply`, within its transaction."""

    actor: str
    encryption_keys: tuple[str, ...] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    report: Report = field(default_factory=Report)
    _told: dict[tuple[type[Model], Any], int] = field(default_factory=dict)  # where each row's line stands

    def save(self, obj: Model) -> None:
        self.tell(audit.save(obj, self.actor), obj)

    def tell(self, outcome: Outcome, obj: Model) -> None:
        """One line for each row, also where it is written in several steps: a tenant, then its cache and guards."""
        told, applied = self._told, self.report.applied
        line = Applied(outcome, str(obj._meta.verbose_name), str(obj))
        at = told.setdefault((type(obj), obj.pk), len(applied))
        if at == len(applied):
            applied.append(line)
        elif applied[at].outcome is Outcome.UNCHANGED:
            applied[at] = line

    def note(self, text: str) -> None:
        self.report.notes.append(text)


class FieldError(Exception):
    """A field of the entry at hand is wrong."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def refuse(name: str, message: str) -> NoReturn:
    """The entry cannot be applied, because of this field; "": as a whole."""
    raise FieldError(name, message)


@contextmanager
def at(path: str) -> Iterator[None]:
    """Errors of one entry, with its place in the file."""
    try:
        yield
    except FieldError as error:
        raise ConfigurationError(Problem(f"{path}.{error.name}" if error.name else path, str(error))) from None
    except ValidationError as error:
        raise ConfigurationError(*_problems(path, error)) from None


def _problems(path: str, error: ValidationError) -> list[Problem]:
    if not hasattr(error, "error_dict"):
        return [Problem(path, message) for message in error.messages]
    return [
        Problem(path if name == NON_FIELD_ERRORS else f"{path}.{FILE_NAMES.get(name, name)}", message)
        for name, messages in error.message_dict.items()
        for message in messages
    ]


def row(model: type[M], /, **lookup: Any) -> M:
    """The row with this name, locked, or a new one that is not saved yet."""
    return model._default_manager.select_for_update(of=("self",)).filter(**lookup).first() or model(**lookup)


def named(model: type[M], field: str, /, **lookup: Any) -> M:
    """The row that the entry's field names; refused where there is none."""
    found = model._default_manager.filter(**lookup).first()
    if found is None:
        refuse(field, f"there is no {model._meta.verbose_name} {'/'.join(map(str, lookup.values()))!r}")
    return found
