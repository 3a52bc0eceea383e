"""A version of a prompt with its variables filled in, as messages of no particular wire format."""

from dataclasses import dataclass
from typing import Any

import msgspec

from llmobs.prompts.definition import VersionInfo
from llmobs.prompts.template import MOST_RENDERED_CHARACTERS, TemplateError, fill

SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Rendered:
    """`system`: texts that stand first; `turns`: the messages after them, as (role, text)."""

    system: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    model: str
    params: dict[str, Any]


def render(version: VersionInfo, given: object) -> Rendered:
    """Fill a version's templates. `given`: `metadata.variables` as the caller sent it. Raises TemplateError.

    What is given beyond the variables of this version is left aside: two arms of a test may differ in them.
    """
    values = {**version.defaults, **texts(given)}
    left = MOST_RENDERED_CHARACTERS
    system, turns = [], []
    for role, content in version.messages:
        text = fill(content, values, left)
        left -= len(text)
        if role == SYSTEM:
            system.append(text)
        else:
            turns.append((role, text))
    return Rendered(tuple(system), tuple(turns), version.model, version.params)


def texts(given: object) -> dict[str, str]:
    """The variables as texts: a text as itself, other values as their JSON; null is none.

    OpenAI's metadata holds texts alone: the whole object may come as its JSON too. Raises TemplateError.
    """
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            raise TemplateError("metadata.variables is a text, and not the JSON of an object") from None
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise TemplateError('metadata.variables is no object, such as {"name": "value"}')
    return {
        str(name): value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in given.items()
        if value is not None
    }
