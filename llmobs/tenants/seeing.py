"""Whose rows the work at hand may see: said here by whoever lets a request in, told to PostgreSQL with each statement.

The web's role in PostgreSQL sees rows of these tenants alone (`tenants.walls`). Whoever says nothing sees nothing.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SETTING = "llmobs.tenants"
NOTHING, EVERYTHING = "", "*"

_said: ContextVar[str | None] = ContextVar(SETTING, default=None)


def said() -> str | None:
    """What was said: ids with commas between, `EVERYTHING`, `NOTHING`; None outside of any request."""
    return _said.get()


def see(tenant_ids: Collection[int] | None) -> None:
    """From now on the rows of these tenants; None: of all, which is an operator's right alone."""
    _said.set(EVERYTHING if tenant_ids is None else ",".join(str(int(each)) for each in sorted(tenant_ids)))


@contextmanager
def seeing(what: str | None) -> Iterator[None]:
    """Within, what an earlier `said` returned; afterwards what was before, whatever was said within."""
    before = _said.get()
    _said.set(what)
    try:
        yield
    finally:
        _said.set(before)  # no token: under ASGI the context may be a copy of the one it was set in


@contextmanager
def finding_out_who() -> Iterator[None]:
    """Everything, for the few questions by which a request learns whose it is (a test holds who asks them)."""
    with seeing(EVERYTHING):
        yield


def statement() -> str:
    """SQL that tells the transaction it is in, and it alone."""
    return f"SELECT set_config('{SETTING}', '{_said.get() or NOTHING}', true)"
