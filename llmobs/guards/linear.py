"""Patterns for Rust's regex engine: they look over long texts in linear time, and where nothing stands fifty times
faster than `re`.

That engine knows neither look-around nor atomic groups. What is made here for it finds a little more than the pattern
that it is made of, in ASCII never less: what it finds is looked at again, what it does not find is not there.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from pydantic_core import SchemaValidator, core_schema

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:<[=!]|[=!>])|\{\d*,?\d*\}|.", re.DOTALL)
_AROUND = ("(?!", "(?=", "(?<!", "(?<=")
_MUST_STAND_BEFORE, _MUST_NOT_STAND_BEFORE, _POSSESSIVE = ("(?<=",), ("(?<!",), ("+",)
# A class of more than ten characters ends the literals that a search begins with: more of them would be too many.
_SPACE, _EXACT_SPACE, _NO_SPACE, _WORD = (
    r"\x01-\x20", r"\t-\r\x1c-\x20", r"\x00-\x08\x0e-\x1b\x21-\x7f", "0-9A-Za-z_",
)  # fmt: skip
# Blanks may come in runs, which the normal form has not; a line's start may be that of a text within JSON.
_PLAIN = {
    r"\s": f"[{_SPACE}]", r"\S": f"[{_NO_SPACE}]", r"\w": f"[{_WORD}]", r"\d": "[0-9]", r"\b": r"(?-u:\b)",
    " ": r"[ \t]+", "^": '(?:^|")', "(?>": "(?:",
}  # fmt: skip
_IN_CLASSES = ((r"\[", "["), ("[", r"\["), (r"\S", _NO_SPACE), (r"\s", _EXACT_SPACE), (r"\w", _WORD), (r"\d", "0-9"))

Finder = Callable[[str], bool]


def finder(patterns: Iterable[str], looks_behind: bool = False) -> Finder:
    """Tells whether any of the patterns may stand in an ASCII text, or in JSON of one; False is certain.

    `looks_behind`: minds what must not stand before a pattern, which finds less, more slowly.
    """
    pattern = "|".join(f"(?:{widened(pattern, looks_behind)})" for pattern in patterns)
    schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True)
    return SchemaValidator(schema).isinstance_python


def widened(pattern: str, looks_behind: bool = False) -> str:
    """A pattern of `re` in Rust's words, for ASCII; gaps have no bounds, which need not be counted then."""
    return "".join(_widened(_TOKEN.findall(pattern), looks_behind))


def _widened(tokens: list[str], looks_behind: bool) -> Iterator[str]:
    at, before = 0, ""
    while at < len(tokens):
        token = tokens[at]
        if token in _AROUND:
            end = _closing(tokens, at)
            inside = tokens[at + 1 : end]
            if token in _MUST_STAND_BEFORE:
                yield "(?:" + "".join(_widened(inside, looks_behind)) + ")"
            elif token in _MUST_NOT_STAND_BEFORE and looks_behind and before in ("", "|") and len(inside) == 1:
                yield rf"(?:^|\\[bfnrt]|{_class('[^' + inside[0][1:])})"
            at, token = end, ""
        elif token in _POSSESSIVE and before[:1] in ("*", "+", "?", "{"):
            pass  # takes no less than this
        elif token[0] == "{" and before.startswith("[^"):
            yield "*"
        elif token[0] == "[":
            yield _class(token)
        else:
            yield _PLAIN.get(token, token)
        at, before = at + 1, token


def _closing(tokens: list[str], at: int) -> int:
    depth = 0
    while True:
        depth += (tokens[at][0] == "(") - (tokens[at] == ")")
        if not depth:
            return at
        at += 1


def _class(token: str) -> str:
    is_negated = token[1] == "^"
    inside = "".join(c for c in token[1 + is_negated : -1] if c.isascii())
    for python, rust in _IN_CLASSES:
        inside = inside.replace(python, rust)
    return rf"[\x00-\x7f&&[^{inside}]]" if is_negated else f"[{inside}]"
