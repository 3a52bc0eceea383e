"""A person to be forgotten, and the name that stands in their place: random, so that sums stay and nobody is named."""

import json
import re
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmobs.budgets.definition import canonical_value

PREFIX = "erased-"


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
            return {self.rename(name): self.rename_json(item) for name, item in value.items()}
        return value

    def rename_value(self, value: str) -> str:
        """A budget's value: a text, a JSON list of several, or the hash of one too long."""
        if value == canonical_value(self.user_id):
            return self.pseudonym
        try:
            parts = json.loads(value) if value.startswith("[") else None
        except ValueError:
            parts = None
        if not isinstance(parts, list):
            return self.rename(value)
        return canonical_value(tuple(self.rename(str(part)) for part in parts))

    def is_named_in(self, raw: bytes) -> bool:
        """Whether bytes of a body hold the id, as UTF-8 or as JSON escapes it."""
        forms = {self.user_id, json.dumps(self.user_id)[1:-1]}
        return any(form.encode() in raw for form in forms)
