"""What the prompts are, as the gateway needs them: read in one go, immutable, found by reference and caller.

A reference is `name` (the current version, or an arm of the running test), `name@3` (a version), `name@label`,
`name@current` (never an arm) or `name@latest`.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg

from llmobs.prompts.assignment import assign, share_of

CURRENT, LATEST = "current", "latest"
CONTROL, VARIANT = "control", "variant"
_NUMBER = re.compile(r"v?([0-9]{1,9})")


class UnknownPrompt(LookupError):
    """A reference names no prompt, version or label of this tenant; the message names it."""


class VersionInfo(msgspec.Struct, frozen=True):
    """What one version says. `defaults`: values of variables that a caller may leave out."""

    number: int
    messages: tuple[tuple[str, str], ...]  # role, template
    model: str
    params: dict[str, Any]
    defaults: dict[str, str]


class RunningTest(msgspec.Struct, frozen=True):
    """A running A/B test: its versions with their shares in basis points, control first."""

    salt: str
    arms: tuple[tuple[int, int], ...]


class PromptInfo(msgspec.Struct, frozen=True):
    """A prompt with all its versions, oldest first."""

    id: int
    tenant_id: int
    name: str
    current: int
    versions: tuple[VersionInfo, ...]
    labels: dict[str, int]
    test: RunningTest | None = None


class Chosen(msgspec.Struct, frozen=True):
    """The version for a call. `arm`: control or variant, "" where no test decided."""

    version: VersionInfo
    name: str
    arm: str = ""

    @property
    def reference(self) -> str:
        """As spans and cache keys name it: `greet@3`."""
        return f"{self.name}@{self.version.number}"


class Prompts:
    """The prompts of all tenants."""

    def __init__(self, infos: Iterable[PromptInfo]) -> None:
        self.infos = tuple(infos)
        self._by_name = {(info.tenant_id, info.name): info for info in self.infos}
        self._versions = {(info.id, version.number): version for info in self.infos for version in info.versions}

    def find(self, tenant_id: int, reference: str, who: str) -> Chosen:
        """The version that the reference means for this caller (a user, else a session, else a trace).

        Raises UnknownPrompt.
        """
        name, at, which = reference.partition("@")
        info = self._by_name.get((tenant_id, name))
        if info is None:
            raise UnknownPrompt(f"there is no prompt {name[:100]!r}")
        number, arm = (_number(info, which), "") if at else _arm(info, who)
        version = self._versions.get((info.id, number))
        if version is None:
            raise UnknownPrompt(f"the prompt {name!r} has no version or label {which[:100]!r}")
        return Chosen(version, name, arm)


def _number(info: PromptInfo, which: str) -> int:
    """The version that follows the @; 0: there is none."""
    if which == CURRENT:
        return info.current
    if which == LATEST:
        return info.versions[-1].number if info.versions else 0
    number = _NUMBER.fullmatch(which)
    return int(number[1]) if number else info.labels.get(which, 0)


def _arm(info: PromptInfo, who: str) -> tuple[int, str]:
    if info.test is None:
        return info.current, ""
    number = assign(info.test.salt, info.id, who, info.test.arms)
    return number, CONTROL if number == info.test.arms[0][0] else VARIANT


def load(conn: psycopg.Connection[Any]) -> Prompts:
    """Prompts as the database holds them now."""
    versions: dict[int, list[VersionInfo]] = {}
    for prompt_id, *row in conn.execute(_VERSIONS).fetchall():
        versions.setdefault(prompt_id, []).append(_version(*row))
    labels: dict[int, dict[str, int]] = {}
    for prompt_id, name, number in conn.execute("SELECT prompt_id, name, version FROM prompts_label").fetchall():
        labels.setdefault(prompt_id, {})[name] = number
    tests = {row[0]: _test(*row[1:]) for row in conn.execute(_TESTS).fetchall()}
    prompts = conn.execute("SELECT id, tenant_id, name, current FROM prompts_prompt ORDER BY id").fetchall()
    return Prompts(
        PromptInfo(
            prompt_id, tenant_id, name, current, tuple(versions.get(prompt_id, ())), labels.get(prompt_id, {}),
            tests.get(prompt_id),
        )
        for prompt_id, tenant_id, name, current in prompts
    )  # fmt: skip


_VERSIONS = (
    "SELECT prompt_id, number, messages, model, params, variables FROM prompts_promptversion ORDER BY prompt_id, number"
)
_TESTS = "SELECT prompt_id, salt, control, control_percentage, variants FROM prompts_experiment WHERE ended_at IS NULL"


def _version(number: int, messages: Any, model: str, params: Any, variables: Any) -> VersionInfo:
    return VersionInfo(
        number,
        tuple((str(message["role"]), str(message["content"])) for message in messages),
        model,
        dict(params),
        {name: value for name, value in variables.items() if value is not None},
    )


def _test(salt: str, control: int, control_percentage: object, variants: Any) -> RunningTest:
    arms = [(control, share_of(control_percentage))]
    arms += [(int(each["version"]), share_of(each["percentage"])) for each in variants]
    return RunningTest(salt, tuple(arms))
