"""Translation between the wire formats: what it takes to reach a provider that speaks another than the caller."""

from typing import Protocol

from gateway.dialects.dialect import Asked, BadRequest, Dialect


class Untranslatable(BadRequest):
    """No translation exists."""


class StreamTranslation(Protocol):
    def feed(self, block: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Translation(Protocol):
    speaks: Dialect

    def request(self, body: bytes, model: str, asked: Asked, ceiling_tokens: int) -> bytes: ...
    def answer(self, body: bytes) -> bytes: ...
    def error(self, status: int, body: bytes) -> tuple[int, bytes]: ...
    def stream(self, asked: Asked) -> StreamTranslation: ...


def translation(caller: Dialect, provider_dialect: str) -> Translation | None:
    """None: the same format."""
    if caller.name == provider_dialect:
        return None
    raise Untranslatable(f"the provider speaks the {provider_dialect} format")
