"""Templates: text with `{{name}}` in it, and nothing else. No logic, no nesting, no escapes.

A text is split once into what stands and what is put in. Values never meet the splitting: a value that holds
`{{secret}}` is that text, so nobody can reach another variable through one.
"""

import re

# What a rendered prompt may come to; as much as a body that a caller may send.
MOST_RENDERED_CHARACTERS = 32 * 1024 * 1024

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PLACE = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]{0,99})[ \t]*\}\}")


class TemplateError(ValueError):
    """A template that cannot be, or cannot be filled; the message names the place, never a value."""


def check(text: str) -> list[str]:
    """The names of the variables in a template, in order. Raises TemplateError."""
    parts = _PLACE.split(text)
    for standing in parts[::2]:
        at = standing.find("{{")
        if at >= 0:
            raise TemplateError(f"{standing[at : at + 40]!r} is no variable: {{{{name}}}}, of letters, digits and _")
    return list(dict.fromkeys(parts[1::2]))


def fill(text: str, values: dict[str, str], most_characters: int = MOST_RENDERED_CHARACTERS) -> str:
    """The text with each variable's value in its place. Raises TemplateError for one that has none."""
    parts = _PLACE.split(text)
    if len(parts) == 1:
        return text
    for index in range(1, len(parts), 2):
        value = values.get(parts[index])
        if value is None:
            raise TemplateError(f"the variable {parts[index]!r} has no value: give it in metadata.variables")
        parts[index] = value
    if sum(map(len, parts)) > most_characters:
        raise TemplateError(f"the rendered prompt is longer than {most_characters:,} characters")
    return "".join(parts)
