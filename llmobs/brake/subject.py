"""Whom the brake watches: a session; without one a user's conversation, else a conversation of the key."""

from hashlib import blake2b
from typing import NamedTuple

from llmobs.tenants.attribution import Attribution
from llmobs.tenants.braking import Marks

SESSION, USER, KEY = "session", "user", "key"


class Subject(NamedTuple):
    """Who it is. `head`: of the conversation, where there is no session to keep it apart from others."""

    tenant_id: int
    kind: str
    name: str
    key_id: int
    head: int

    @property
    def mark(self) -> str:
        """What gateways and the database call it."""
        words = f"{self.kind}\0{self.name}\0{self.key_id}\0{self.head}"
        return blake2b(words.encode("utf-8", "replace"), digest_size=16).hexdigest()

    @property
    def words(self) -> str:
        if self.kind == SESSION:
            return f"the session {self.name!r}"
        return f"this conversation of the user {self.name!r}" if self.kind == USER else "this conversation of the key"


def subject_of(tenant_id: int, who: Attribution, head: int) -> Subject:
    """`head` counts where no session is named: a key serves many, of whom one loop is to be stopped."""
    if who.session_id:
        return Subject(tenant_id, SESSION, who.session_id, 0, 0)
    return Subject(tenant_id, USER if who.user_id else KEY, who.user_id, who.key_id, head)


def factor_of(kind: str, marks: Marks) -> int:
    """How much higher the marks are."""
    return 1 if kind == SESSION else marks.user_factor if kind == USER else marks.key_factor
