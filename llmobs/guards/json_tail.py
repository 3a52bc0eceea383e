"""A JSON text that comes in pieces (a tool's arguments), redacted within its strings, so that it stays JSON.

Strings are read as what they say, not as how they are escaped: an escape can neither hide a value nor be cut in two.
A long number that is found becomes a string. What is no JSON at all flows as an ordinary text would.
"""

import json
import re

from llmobs.guards.tail import Rewrite, Tail

_QUOTE = re.compile(r'(?:[^"\\]|\\.)*?"', re.DOTALL)
# An escape that is not whole yet, or the first half of a pair.
_OPEN_ESCAPE = re.compile(r"(?:\\(?:u[0-9a-fA-F]{0,3})?|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)$")
_NUMBER = re.compile(r"-?\d[\d.eE+-]*")
_OPEN_NUMBER = re.compile(r"-?\d[\d.eE+-]*$|-$")


class JsonTail:
    """One JSON text."""

    __slots__ = ("_held", "_is_inside", "_redact", "_string")

    def __init__(self, redact: Rewrite) -> None:
        self._redact = redact
        self._held = ""  # as it came: an escape or a number whose end has not come
        self._is_inside = False  # a string
        self._string = Tail(redact)

    def feed(self, piece: str) -> str:
        """What may go."""
        text, self._held = self._held + piece, ""
        out: list[str] = []
        while text:
            text = self._inside(text, out) if self._is_inside else self._outside(text, out)
        return "".join(out)

    def end(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        if self._is_inside:
            return escaped(self._string.feed(unescaped(held)) + self._string.end())
        return self._numbers(held)

    def _outside(self, text: str, out: list[str]) -> str:
        before, quote, rest = text.partition('"')
        if quote:
            out.append(self._numbers(before) + quote)
            self._is_inside, self._string = True, Tail(self._redact)
            return rest
        number = _OPEN_NUMBER.search(before)
        at = number.start() if number is not None else len(before)
        out.append(self._numbers(before[:at]))
        self._held = before[at:]
        return ""

    def _inside(self, text: str, out: list[str]) -> str:
        end = _QUOTE.match(text)
        if end is not None:
            out.append(escaped(self._string.feed(unescaped(end.group()[:-1])) + self._string.end()) + '"')
            self._is_inside = False
            return text[end.end() :]
        escape = _open_escape(text)
        out.append(escaped(self._string.feed(unescaped(text[:escape]))))
        self._held = text[escape:]
        return ""

    def _numbers(self, text: str) -> str:
        return _NUMBER.sub(lambda found: self._number(found.group()), text)

    def _number(self, number: str) -> str:
        if not number.isdecimal() or (redacted := self._redact(number)) == number:
            return number
        return f'"{redacted}"'


def _open_escape(text: str) -> int:
    """Where an escape begins that is not whole; the text's length: there is none."""
    found = _OPEN_ESCAPE.search(text, max(0, len(text) - 12))
    while found is not None:
        backslashes = len(text[: found.start()]) - len(text[: found.start()].rstrip("\\"))
        if backslashes % 2 == 0:
            return found.start()
        found = _OPEN_ESCAPE.search(text, found.start() + 1)
    return len(text)


def unescaped(text: str) -> str:
    """What the inside of a JSON string says; what is no such thing says itself."""
    if "\\" not in text:
        return text
    try:
        said = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
    return str(said)


def escaped(text: str) -> str:
    """A text as the inside of a JSON string."""
    try:
        text.encode()
    except UnicodeError:  # a lone surrogate
        return json.dumps(text)[1:-1]
    return json.dumps(text, ensure_ascii=False)[1:-1]
