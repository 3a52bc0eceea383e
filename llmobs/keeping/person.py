"""A person to be forgotten, and the name that stands in their place: random, so that sums stay and nobody is named."""

import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmobs.budgets.scope import canonical_value

PREFIX = "erased-"
FEWEST_TELLING = 6  # characters of an id that can hardly be a word of its own
FEWEST_TELLING_DIGITS = 9  # of a number: shorter ones are amounts, ports, years


def new_pseudonym() -> str:
    return PREFIX + secrets.token_hex(8)


@dataclass(frozen=True)
class Person:
    """Whom a tenant's spans name by `user_id`. What else holds the id as a word of its own names them too."""

    tenant_id: int
    user_id: str = field(repr=False)
    pseudonym: str

    @cached_property
    def _word(self) -> "re.Pattern[str]":
        return re.compile(rf"(?<!\w){re.escape(self.user_id)}(?!\w)")

    @property
    def names(self) -> list[str]:
        """By which their rows are found: a run that was killed has renamed some of them."""
        return [self.user_id, self.pseudonym]

    @property
    def is_telling(self) -> bool:
        """Whether the id names nobody and nothing else: others' texts are searched for such ids alone.

        `ada@example.com` and a UUID are; `support`, `42` and `al` are words that others use too.
        """
        if self.user_id.isdigit():
            return len(self.user_id) >= FEWEST_TELLING_DIGITS
        return len(self.user_id) >= FEWEST_TELLING and not self.user_id.isalpha()

    @property
    def escaped(self) -> str:
        """The id as it stands in the text of a JSON value."""
        return json.dumps(self.user_id, ensure_ascii=False)[1:-1]

    def rename(self, text: str) -> str:
        """The text with the pseudonym in the id's place."""
        return self._word.sub(self.pseudonym, text) if self.user_id in text else text

    def rename_json(self, value: Any) -> Any:
        """A JSON value with each of its texts renamed."""
        if isinstance(value, str):
            return self.rename(value)
        if isinstance(value, list):
            return [self.rename_json(item) for item in value]
        if isinstance(value, dict):
            return {self.rename(name): self._of_name(name, item) for name, item in value.items()}
        return value

    def _of_name(self, name: str, item: Any) -> Any:
        """An id that came as a number stands as one where a user is named."""
        if type(item) is int and "user" in name and str(item) == self.user_id:
            return self.pseudonym
        return self.rename_json(item)

    def rename_content(self, text: str | None) -> str | None:
        """A prompt or an answer: JSON, else a text."""
        if text is None or not self.is_named_in(text.encode("utf-8", "surrogatepass")):
            return text
        try:
            return json.dumps(self.rename_json(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
        except ValueError:
            return self.rename(text)

    def rename_value(self, value: str, each: Sequence[str] | None, sessions: Collection[str]) -> str:
        """A budget's value: a text, a JSON list of several, or the hash of one too long.

        `each`: the dimensions that its parts are of; None: nobody knows any more. `sessions`: those that are renamed.
        """
        if each is None:
            return self._rename_unknown(value)
        parts = [value]
        if len(each) > 1:
            try:
                parts = json.loads(value)
            except ValueError:
                return self._rename_unknown(value)
        if len(parts) != len(each):
            return self._rename_unknown(value)
        new = [self._rename_part(part, dimension, sessions) for part, dimension in zip(parts, each, strict=True)]
        return canonical_value(new[0] if len(each) == 1 else tuple(new))

    def _rename_part(self, part: str, dimension: str, sessions: Collection[str]) -> str:
        if dimension == "user":
            return self.pseudonym if part == canonical_value(self.user_id) else part
        return self.rename(part) if dimension == "session" and (part in sessions or self.is_telling) else part

    def _rename_unknown(self, value: str) -> str:
        if value == canonical_value(self.user_id):
            return self.pseudonym
        return self.rename(value) if self.is_telling else value

    def is_named_in(self, raw: bytes) -> bool:
        """Whether bytes of a body hold the id, as UTF-8 or as JSON escapes it."""
        forms = {self.user_id, self.escaped, json.dumps(self.user_id)[1:-1]}
        return any(form.encode("utf-8", "surrogatepass") in raw for form in forms)
