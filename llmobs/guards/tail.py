"""A text that comes in pieces, redacted as it flows: of what might still become a finding the end is held back.

1. What has come is cut behind the last blank, line break or Chinese character that no pattern reaches across; all
   before the cut goes. A row of numbers waits for the end of its line, a word for its end: never more than a sentence.
2. A run without a place to cut (base64, a long key) is bounded: beyond `MOST_HELD` its beginning goes, though never a
   part of a value. One that is longer is replaced at once, and the rest of it swallowed.
"""

import re
from collections.abc import Callable

from llmobs.guards.sensitive import spans

Rewrite = Callable[[str], str]

MOST_HELD = 1000  # characters, of a run that has no place to cut
KEPT_BEHIND = 400  # longer than the beginning of any value that is not known as one yet

_CUTS = re.compile(r"[\s\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]")
# A number that may go on behind a blank; capitals behind a number are groups of an IBAN.
_NUMBER = re.compile(r"\d[^,;!?\"'\]}|%]*$")
_CAPITALS = re.compile(r"[A-Z]+", re.ASCII)
_LONGEST_IBAN = 45  # with its blanks
_OPENERS = ("bearer", "password:", "api-key:")  # a secret stands behind the blank
_ASSIGNED = re.compile(r"(?:password|api_key|api-key|secret|bearer)[:= ]*[^\s\"'&,;]*$", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*-{0,5}")
_END_OF_KEY = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_LONGEST_END = 60
_RUN = re.compile(r"[A-Za-z0-9._~+/=-]*")


class Tail:
    """One text. `redact` replaces what is to be replaced."""

    __slots__ = ("_held", "_in_key", "_in_run", "_redact")

    def __init__(self, redact: Rewrite) -> None:
        self._redact = redact
        self._held = ""
        self._in_key = False  # a private key was replaced, and its end has not come
        self._in_run = False  # so with any other value

    def feed(self, piece: str) -> str:
        """What may go, redacted."""
        text = self._swallowed(self._held + piece)
        cut = 0 if self._in_key else _cut(text)
        if cut == 0 and len(text) > MOST_HELD:
            cut = _bounded(text)
            if cut == len(text):
                self._in_key = _PRIVATE_KEY.search(text) is not None
                self._in_run = not self._in_key
        self._held = text[cut:]
        return self._redact(text[:cut]) if cut else ""

    def end(self) -> str:
        """The rest."""
        text, self._held = self._swallowed(self._held), ""
        return self._redact(text) if text and not self._in_key else ""

    def _swallowed(self, text: str) -> str:
        """The text without the rest of a value that was replaced already."""
        if self._in_key:
            found = _END_OF_KEY.search(text)
            if found is None:
                return text[-_LONGEST_END:]
            self._in_key = False
            return text[found.end() :]
        if self._in_run:
            rest = text[_RUN.match(text).end() :]  # type: ignore[union-attr]  # it matches the empty text too
            self._in_run = not rest
            return rest
        return text


def _cut(text: str) -> int:
    """Behind the last character that no pattern reaches across."""
    begin, end = _private_key(text)
    for at in range(len(text), 0, -1):
        if not begin < at < end and _CUTS.match(text, at - 1) and _is_closed(text, at):
            return at
    return 0


def _private_key(text: str) -> tuple[int, int]:
    """From where to where a private key stands, that may be without its end yet; the text's end twice: no key."""
    key = _PRIVATE_KEY.search(text)
    if key is None or not (key.end() == len(text) or key.group().endswith("PRIVATE KEY-----")):
        return len(text), len(text)
    end = _END_OF_KEY.search(text, key.end())
    return key.start(), end.end() if end is not None else len(text) + 1


def _is_closed(text: str, at: int) -> bool:
    """Whether no value goes on behind the blank, line break or Chinese character before this place."""
    if not text[at - 1].isspace():
        return _ASSIGNED.search(text[max(0, at - 80) : at]) is None
    if text[at - 1] != " " or text[at - 2 : at - 1] == " ":
        return True  # groups of digits are set apart by one blank
    word = _CUTS.split(text[: at - 1][-80:])[-1]
    if _NUMBER.search(word) or word.lower().endswith(_OPENERS):
        return False
    return _CAPITALS.fullmatch(word) is None or not any(c.isdigit() for c in text[max(0, at - _LONGEST_IBAN) : at])


def _bounded(text: str) -> int:
    """Where a run that has no place to cut is cut all the same: in no value. The end: it is all one value."""
    at = len(text) - KEPT_BEHIND
    for start, end in sorted(spans(text)):
        if start < at < end:
            at = (start or end) if end == len(text) else end
    return at
