"""Whom the spans below are for: kept in OpenTelemetry's own context, so it goes wherever the current span goes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from opentelemetry import baggage, context

ATTRIBUTES = {
    "feature": "llmobs.feature",
    "user": "llmobs.user",
    "session": "llmobs.session",
    "environment": "llmobs.environment",
}
MOST_CHARACTERS = 200  # the collector cuts longer ones

_KEY = context.create_key("llmobs-attribution")

F = TypeVar("F", bound=Callable[..., Any])


class attribution:
    """`with attribution(feature="chat", user=user_id): ...` stamps every span that begins inside.

    Within another one it adds and overrides; None leaves what is there, "" takes it away. With `propagate` it also
    goes as W3C baggage with the requests that instrumented clients make, whoever receives them: only for services of
    your own. As a decorator it holds for each call of a function, `async` ones too.
    """

    def __init__(
        self,
        *,
        feature: object = None,
        user: object = None,
        session: object = None,
        environment: object = None,
        propagate: bool = False,
    ) -> None:
        said = {"feature": feature, "user": user, "session": session, "environment": environment}
        self._said = {name: str(value)[:MOST_CHARACTERS] for name, value in said.items() if value is not None}
        self._propagate = propagate
        self._token: Any = None

    def __enter__(self) -> attribution:
        here = context.set_value(_KEY, {**current(), **self._said})
        if self._propagate:
            for name, value in current(here).items():
                here = baggage.set_baggage(ATTRIBUTES[name], value, here)
        self._token = context.attach(here)
        return self

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)

    def __call__(self, function: F) -> F:
        said: dict[str, Any] = {**self._said, "propagate": self._propagate}
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with attribution(**said):
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with attribution(**said):
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]


def current(of: context.Context | None = None) -> Mapping[str, str]:
    """What holds in this context: what was said here, over what came with the request as baggage."""
    said = context.get_value(_KEY, of)
    told = {name: baggage.get_baggage(attribute, of) for name, attribute in ATTRIBUTES.items()}
    heard = {name: str(value)[:MOST_CHARACTERS] for name, value in told.items() if value}
    return {**heard, **said} if isinstance(said, dict) else heard
