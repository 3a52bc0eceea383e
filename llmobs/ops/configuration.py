"""Reads the configuration file of `apply`; errors name the place in the file and the value.

Strict: unknown names, duplicate names and wrong types are refused. What can stand in it: `configuring.parts`.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import msgspec

from llmobs.ops.configuring.entry import ConfigurationError, Entry, Part, Problem
from llmobs.ops.configuring.parts import PARTS
from llmobs.ops.configuring.tenant_parts import TENANT_PARTS
from llmobs.ops.configuring.tenants import TENANTS
from llmobs.ops.yaml_values import NotYaml, read

MOST_BYTES = 4 * 1024 * 1024
SHOWN_CHARACTERS = 80
SECRET_FIELDS = ("secret", "credential", "credentials", "headers", "query", "url")

_Whole = msgspec.defstruct(
    "_Whole", [part.field for part in PARTS], frozen=True, kw_only=True, forbid_unknown_fields=True
)


class Configuration:
    """The whole file: each part's entries in order, as an attribute of the part's name."""

    def __init__(self, whole: msgspec.Struct) -> None:
        self._whole = whole

    def __getattr__(self, part: str) -> list[Any]:
        found: list[Any] = getattr(self._whole, part)
        return found

    def entries(self, part: Part) -> list[tuple[str, Any]]:
        """A part's entries, each with its place in the file."""
        return part.entries(self._whole, "")


def parse(text: str | bytes) -> Configuration:
    """Read a configuration file; raises ConfigurationError with every problem that can be told apart."""
    if len(text) > MOST_BYTES:
        raise ConfigurationError(Problem("", f"the file is longer than {MOST_BYTES >> 20} MB"))
    try:
        data = read(text)
    except NotYaml as error:
        raise ConfigurationError(Problem(error.where, f"not YAML: {error}")) from None
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigurationError(Problem("", f"expected providers, tenants …, found {_shown(data)}"))
    try:
        configuration = Configuration(msgspec.convert(data, _Whole))
    except msgspec.ValidationError as error:
        raise ConfigurationError(_problem(str(error), data)) from None
    if twice := list(_twice(configuration)):
        raise ConfigurationError(*twice)
    return configuration


def _twice(configuration: Configuration) -> Iterator[Problem]:
    """Entries of one name: the second would undo the first, at each run anew."""
    for part in PARTS:
        yield from _same(part, configuration.entries(part))
    for path, tenant in configuration.entries(TENANTS):
        for part in TENANT_PARTS:
            yield from _same(part, part.entries(tenant, path))


def _same(part: Part, entries: list[tuple[str, Any]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, entry in entries if not part.is_single else ():
        name = part.named(entry)
        if first.setdefault(name, path) != path:
            shown = name.removesuffix("@None").lstrip("/")
            yield Problem(path, f"{shown!r} stands here twice (first at {first[name]})")


def _problem(message: str, data: Any) -> Problem:
    """msgspec's message with the place as one reads it and the value that stands there."""
    text, _, place = message.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".")
    unknown = re.match(r"Object contains unknown field `(.*)`", text)
    if unknown:
        return Problem(f"{path}.{unknown[1]}" if path else unknown[1], f"no such setting{_meant(unknown[1])}")
    text = text.replace("Object missing required field", "lacks").replace("Expected", "expected")
    if text.startswith("lacks") or "[...]" in path:  # of a mapping's values msgspec names no place
        return Problem(path, text)
    if any(field in re.split(r"[.\[]", path) for field in SECRET_FIELDS):
        return Problem(path, text)
    return Problem(path, f"{text[0].lower()}{text[1:]}: {_shown(_value_at(data, path))}{_allowed(path)}")


def _allowed(path: str) -> str:
    """The values that a choice takes, where the place is one."""
    *_, part, name = ["", *re.sub(r"\[\d+\]", "", path).split(".")]
    kinds = {each.name: each.entry for each in (*PARTS, *TENANT_PARTS)}
    if part not in kinds:
        return ""
    for field in msgspec.inspect.type_info(kinds[part]).fields:  # type: ignore[attr-defined]
        if field.name == name and isinstance(field.type, msgspec.inspect.LiteralType):
            return f"; use {', '.join(map(str, field.type.values))}"
    return ""


def _meant(name: str) -> str:
    known = {part.name for part in PARTS} | {field for kind in _kinds(Entry) for field in kind.__struct_fields__}
    close = get_close_matches(name, known - {name}, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _kinds(kind: type[Entry]) -> Iterator[type[Entry]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def _value_at(data: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", path):
        try:
            data = data[int(step)] if isinstance(data, list) else data[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return data


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
