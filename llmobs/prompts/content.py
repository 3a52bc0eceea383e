"""What a version of a prompt may say, checked in one place for every door (REST, admin, `apply`)."""

from dataclasses import dataclass, field
from typing import Any

from llmobs.prompts.template import NAME, TemplateError, check

ROLES = ("system", "user", "assistant")
MOST_MESSAGES = 100
MOST_CHARACTERS = 200_000  # of all messages of a version: each gateway keeps them in memory
# What the request itself says, or what would not be the prompt's to say.
NOT_PARAMS = frozenset({"model", "messages", "system", "input", "instructions", "metadata", "stream", "user"})


class ContentError(ValueError):
    """A field is wrong; `name` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Content:
    """What a version says; two versions that say the same have equal contents."""

    messages: list[dict[str, str]]
    model: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)


def checked(content: Content) -> Content:
    """The content with every variable declared. Raises ContentError."""
    names = _names(content.messages)
    variables = _variables(content.variables)
    _check_params(content.params)
    return Content(content.messages, content.model, content.params, {**dict.fromkeys(names), **variables})


def text_messages(text: str) -> list[dict[str, str]]:
    """A prompt that is one text is the system's: what the caller asks comes after it."""
    return [{"role": "system", "content": text}]


def _names(messages: object) -> list[str]:
    if not isinstance(messages, list) or not 1 <= len(messages) <= MOST_MESSAGES:
        raise ContentError("messages", f'A list of 1 to {MOST_MESSAGES}: [{{"role": "system", "content": "…"}}].')
    found: list[str] = []
    characters, has_turns = 0, False
    for index, message in enumerate(messages):
        role, content = _message(message, index)
        if role == "system" and has_turns:
            raise ContentError("messages", f"messages[{index}]: system messages stand first")
        has_turns = has_turns or role != "system"
        characters += len(content)
        try:
            found += check(content)
        except TemplateError as error:
            raise ContentError("messages", f"messages[{index}]: {error}") from None
    if characters > MOST_CHARACTERS:
        raise ContentError("messages", f"At most {MOST_CHARACTERS:,} characters in all, not {characters:,}.")
    return list(dict.fromkeys(found))


def _message(message: object, index: int) -> tuple[str, str]:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise ContentError("messages", f"messages[{index}]: an object of role and content, and nothing else")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ContentError("messages", f"messages[{index}]: the role is one of {', '.join(ROLES)}")
    if not isinstance(content, str) or not content or "\x00" in content:
        raise ContentError("messages", f"messages[{index}]: the content is a text, and not empty")
    return role, content


def _variables(variables: object) -> dict[str, str | None]:
    if not isinstance(variables, dict):
        raise ContentError("variables", 'An object of defaults, such as {"tone": "friendly", "name": null}.')
    for name, default in variables.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ContentError("variables", f"{name!r} is no name of a variable: letters, digits and _")
        if default is not None and not isinstance(default, str):
            raise ContentError("variables", f"{name}: a text, or null where the caller must give it")
    return variables


def _check_params(params: object) -> None:
    if not isinstance(params, dict) or not all(isinstance(name, str) for name in params):
        raise ContentError("params", 'An object of the request\'s parameters, such as {"temperature": 0.2}.')
    if wrong := sorted(NOT_PARAMS & set(params)):
        raise ContentError("params", f"{wrong[0]!r} is not a parameter that a prompt sets")
