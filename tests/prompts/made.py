"""Prompts as the tests need them: made by the code under test, or as plain data."""

from typing import Any

from llmobs.prompts.definition import PromptInfo, RunningTest, VersionInfo


def version(number: int = 1, *contents: str, **fields: Any) -> VersionInfo:
    """A version whose messages are a system message and then users' ones."""
    roles = ["system", *["user"] * len(contents)]
    messages = tuple(zip(roles, contents or ("Answer {{name}}.",), strict=False))
    return VersionInfo(number, messages, fields.get("model", ""), fields.get("params", {}), fields.get("defaults", {}))


def prompt(
    name: str = "greet",
    tenant_id: int = 1,
    prompt_id: int = 7,
    current: int = 1,
    count: int = 3,
    labels: dict[str, int] | None = None,
    test: RunningTest | None = None,
) -> PromptInfo:
    versions = tuple(version(number) for number in range(1, count + 1))
    return PromptInfo(prompt_id, tenant_id, name, current, versions, labels or {}, test)
