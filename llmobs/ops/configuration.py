"""The configuration file that `apply` reads: its schema, and errors that name the place in the file and the value.

Strict: unknown names, duplicate names and wrong types are refused. What later versions bring is refused with a sentence
that says so, rather than kept and not obeyed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from llmobs.ops.yaml_values import NotYaml, read

MOST_BYTES = 4 * 1024 * 1024
SHOWN_CHARACTERS = 80
SECRET_FIELDS = ("secret", "credential", "headers", "url")


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


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the file."""


class ProviderEntry(_Entry, frozen=True):
    name: str
    dialect: Literal["openai", "anthropic"]
    base_url: str
    credential: str = ""
    prices_like: str = ""
    headers: dict[str, str] = {}
    is_enabled: bool = True


class ModelEntry(_Entry, frozen=True):
    provider: str
    model: str
    input_usd_per_mtok: str | int | None = None
    output_usd_per_mtok: str | int | None = None
    cache_read_usd_per_mtok: str | int | None = None
    cache_write_5m_usd_per_mtok: str | int | None = None
    cache_write_1h_usd_per_mtok: str | int | None = None
    max_output_tokens: int | None = None
    effective_from: datetime | None = None


class CandidateEntry(_Entry, frozen=True):
    provider: str
    model: str
    weight: int | str = 1  # the strategy `weighted` alone reads it


class RouteEntry(_Entry, frozen=True):
    name: str
    candidates: list[CandidateEntry]
    strategy: Literal["fallback"] = "fallback"


class KeyEntry(_Entry, frozen=True):
    name: str
    secret: str = ""
    service: str = ""
    environment: str = ""
    feature: str = ""
    allowed_models: list[str] = []
    criticality: Literal["realtime", "background", "best_effort"] = "background"
    cache: bool | str = "off"  # YAML reads a bare off as false
    unpriced: Literal["refuse", "allow"] = "refuse"
    expires_at: datetime | None = None


class BudgetEntry(_Entry, frozen=True):
    name: str
    limit_usd: str | int | None = None
    limit_tokens: int | None = None
    window: Literal["hour", "day", "week", "month", "total"] = "month"
    scope: dict[str, str | int | bool] = {}
    action: Literal["block", "alert"] = "block"
    thresholds: list[int] = msgspec.field(default_factory=lambda: [70, 80, 100])
    is_active: bool = True


class TenantEntry(_Entry, frozen=True):
    slug: str
    name: str = ""
    plan: Literal["none", "free", "paid"] = "none"
    content: Literal["full", "redacted", "hash", "none"] = "redacted"
    time_zone: str = "UTC"
    retention_days: int = 400
    is_active: bool = True
    keys: list[KeyEntry] = []
    budgets: list[BudgetEntry] = []


class JudgeEntry(_Entry, frozen=True):
    name: str
    tenant: str
    model: str
    key: str
    sample: str | int
    criteria: list[str]
    feature: str = ""
    is_enabled: bool = True


class ChannelEntry(_Entry, frozen=True):
    name: str
    url: str
    tenant: str = ""
    is_enabled: bool = True


class Configuration(_Entry, frozen=True):
    """The whole file."""

    providers: list[ProviderEntry] = []
    models: list[ModelEntry] = []
    routes: list[RouteEntry] = []
    tenants: list[TenantEntry] = []
    judges: list[JudgeEntry] = []
    alert_channels: list[ChannelEntry] = []


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
    later = list(_later_parts(data))
    if later:
        raise ConfigurationError(*later)
    try:
        configuration = msgspec.convert(data, Configuration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_problem(str(error), data)) from None
    if twice := list(_twice(configuration)):
        raise ConfigurationError(*twice)
    return configuration


def _twice(configuration: Configuration) -> Iterator[Problem]:
    """Entries of one name: the second would undo the first, at each run anew."""
    yield from _same("providers", [entry.name for entry in configuration.providers])
    prices = [f"{entry.provider}/{entry.model}@{entry.effective_from}" for entry in configuration.models]
    yield from _same("models", prices)
    yield from _same("routes", [entry.name for entry in configuration.routes])
    yield from _same("tenants", [tenant.slug for tenant in configuration.tenants])
    for index, tenant in enumerate(configuration.tenants):
        yield from _same(f"tenants[{index}].keys", [key.name for key in tenant.keys])
        yield from _same(f"tenants[{index}].budgets", [budget.name for budget in tenant.budgets])
    yield from _same("judges", [f"{entry.tenant}/{entry.name}" for entry in configuration.judges])
    yield from _same("alert_channels", [f"{entry.tenant}/{entry.name}" for entry in configuration.alert_channels])


def _same(path: str, names: list[str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            shown = name.removesuffix("@None").lstrip("/")
            yield Problem(f"{path}[{index}]", f"{shown!r} stands here twice (first at {path}[{first[name]}])")


# Names of the file that this version does not know yet; by the list that they stand in ("" is the top).
LATER_NAMES = {
    "": {"limits": "rate limits and quotas", "prompts": "the prompt registry"},
    "providers": {"breaker": "circuit breakers", "retries": "retries"},
    "routes": {"last_resort": "emergency answers", "static_text": "emergency answers"},
    "tenants": {"limits": "rate limits and quotas"},
    "budgets": {"downgrade_to": "downgrading"},
}
LATER_VALUES = {
    ("routes", "strategy"): ("weighted", "cheapest", "fastest", "cascade"),
    ("budgets", "action"): ("downgrade", "cache_only", "static"),
}


def _later_parts(data: dict[str, Any], path: str = "", part: str = "") -> "list[Problem]":
    """Where the file asks for what later versions bring."""
    found: list[Problem] = []
    for name, value in data.items():
        here = f"{path}.{name}" if path else str(name)
        what = LATER_NAMES.get(part, {}).get(str(name))
        if what and value not in ([], None, ""):
            found.append(Problem(here, f"{what} ({name}) are not in this version; leave it out"))
        elif isinstance(value, str) and value in LATER_VALUES.get((part, str(name)), ()):
            found.append(Problem(here, f"{value!r} is not in this version; use {_now_known(part)}"))
        elif part == "budgets" and name == "window" and str(value).startswith("rolling"):
            found.append(
                Problem(here, f"rolling windows ({value}) are not in this version; use hour, day, week, month or total")
            )
        elif isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    found += _later_parts(entry, f"{here}[{index}]", str(name))
    return found


def _now_known(part: str) -> str:
    return "fallback" if part == "routes" else "block or alert"


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
    kinds = {
        "providers": ProviderEntry,
        "routes": RouteEntry,
        "tenants": TenantEntry,
        "keys": KeyEntry,
        "budgets": BudgetEntry,
    }
    if part not in kinds:
        return ""
    for field in msgspec.inspect.type_info(kinds[part]).fields:  # type: ignore[attr-defined]
        if field.name == name and isinstance(field.type, msgspec.inspect.LiteralType):
            return f"; use {', '.join(map(str, field.type.values))}"
    return ""


def _meant(name: str) -> str:
    known = {field for kind in _Entry.__subclasses__() for field in kind.__struct_fields__}
    close = get_close_matches(name, known - {name}, n=1)
    return f"; did you mean {close[0]}?" if close else ""


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
