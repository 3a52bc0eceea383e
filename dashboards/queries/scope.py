"""What a question is asked about: tenants, window, filters. No query over spans goes without one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from dashboards.window import Window


class Cursor(Protocol):
    """A DB-API cursor on PostgreSQL: psycopg's own, or Django's over it."""

    def execute(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None, /) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def fetchone(self) -> Any: ...


@dataclass(frozen=True)
class Filters:
    """Dimensions that calls must have; None is any. The first six are in the roll-ups, the others on traces alone."""

    service: str | None = None
    environment: str | None = None
    feature: str | None = None
    key: int | None = None
    provider: str | None = None
    model: str | None = None
    status: str | None = None
    error: str | None = None
    user: str | None = None
    session: str | None = None
    search: str | None = None

    @property
    def given(self) -> dict[str, str | int]:
        """Those that are set, by name."""
        return {name: value for name in _FILTERS if (value := getattr(self, name)) is not None}

    @property
    def needs_traces(self) -> bool:
        """Whether a filter is set that no roll-up knows."""
        return any(name in ("user", "session", "search") for name in self.given)


_FILTERS = tuple(field.name for field in fields(Filters))


@dataclass(frozen=True)
class Scope:
    """Whose calls, when, and which of them."""

    tenant_ids: tuple[int, ...]
    window: Window
    filters: Filters = Filters()

    def over(self, window: Window) -> "Scope":
        return Scope(self.tenant_ids, window, self.filters)


def asks(values: Mapping[str, str | int | None]) -> dict[str, str]:
    """Values of dimensions as addresses of explanations have them, those that name nothing apart."""
    named = {name: str(value) for name, value in values.items() if value}
    return {**named, "none": ",".join(name for name in values if name not in named)}
