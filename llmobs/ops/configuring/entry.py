"""What the configuration file is made of: entries, parts (the lists of entries), and what is wrong with them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place of the file: `tenants[0].budgets[1].window`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigurationError(Exception):
    """The file cannot be applied; nothing was changed."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the file."""


@dataclass(frozen=True)
class Part:
    """One part of the file, or of each tenant in it: a list of entries, or a single one.

    `apply(applying, entry, path)` makes one entry what it says; of a tenant's part it is
    `apply(applying, tenant, entry, path)`. `named(entry)` is what may not stand in the list twice.
    """

    name: str
    entry: type[Entry]
    apply: Callable[..., None]
    named: Callable[[Any], str] = lambda entry: str(entry.name)
    explained: str = ""  # for `apply --help`: the entry's fields
    is_single: bool = False

    @property
    def field(self) -> tuple[str, Any, Any]:
        """The part as a field of the struct that holds it, for `msgspec.defstruct`."""
        if self.is_single:
            return (self.name, self.entry | None, None)
        return (self.name, list[self.entry], msgspec.field(default_factory=list))  # type: ignore[name-defined]

    def entries(self, holder: msgspec.Struct, path: str) -> list[tuple[str, Any]]:
        """What the holder has of this part, each with its place in the file."""
        found = getattr(holder, self.name)
        place = f"{path}.{self.name}" if path else self.name
        if self.is_single:
            return [] if found is None else [(place, found)]
        return [(f"{place}[{index}]", entry) for index, entry in enumerate(found)]
