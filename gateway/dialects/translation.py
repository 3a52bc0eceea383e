"""From a caller's format to a provider's and back, where the two are not of one family.

The provider is spoken to in `speaks`, whose methods read usage and ends from the provider's own bytes; what the caller
sees is translated from the same bytes.
"""

import time
from collections.abc import Callable
from typing import Protocol

from gateway.dialects.answer_to_anthropic import answer_to_anthropic
from gateway.dialects.answer_to_openai import answer_to_openai
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.dialect import Asked, BadRequest, Dialect
from gateway.dialects.errors_between import error_to_anthropic, error_to_openai
from gateway.dialects.openai import OpenAI
from gateway.dialects.stream_to_anthropic import StreamToAnthropic
from gateway.dialects.stream_to_openai import StreamToOpenAI
from gateway.dialects.to_anthropic import to_anthropic
from gateway.dialects.to_openai import to_openai
from gateway.dialects.wire import ODD, Json, encode, json_object

Clock = Callable[[], float]


class Untranslatable(BadRequest):
    """The caller's operation has no counterpart at the provider."""


class Garbled(Exception):
    """The provider's answer has not the shape of its format."""


class StreamTranslation(Protocol):
    """One stream on its way."""

    def feed(self, block: bytes) -> bytes:
        """A block of the provider's whole events as events for the caller; may be empty."""

    def end(self) -> bytes:
        """What is still to be said; nothing where the stream broke off before its end."""


class Translation(Protocol):
    """One pair of formats."""

    speaks: Dialect

    def request(self, body: bytes, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
        """The body for the provider. Raises BadRequest where it cannot be expressed, and says what."""

    def answer(self, body: bytes) -> bytes:
        """A whole answer in the caller's format. Raises Garbled."""

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        """The provider's error in the caller's format."""

    def stream(self, asked: Asked) -> StreamTranslation:
        """The translation of one stream."""


class ChatToMessages:
    """The caller speaks chat completions, the provider Anthropic's messages."""

    def __init__(self, clock: Clock = time.time) -> None:
        self.speaks: Dialect = Anthropic()
        self._clock = clock

    def request(self, body: bytes, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
        return _translated(to_anthropic, body, model, asked, ceiling_tokens)

    def answer(self, body: bytes) -> bytes:
        return _answered(lambda answer: answer_to_openai(answer, int(self._clock())), body)

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        status, error = error_to_openai(status, json_object(body))
        return status, encode(error)

    def stream(self, asked: Asked) -> StreamTranslation:
        return StreamToOpenAI(asked.wants_usage, int(self._clock()))


class MessagesToChat:
    """The caller speaks Anthropic's messages, the provider chat completions."""

    def __init__(self) -> None:
        self.speaks: Dialect = OpenAI()

    def request(self, body: bytes, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
        return _translated(to_openai, body, model, asked, ceiling_tokens)

    def answer(self, body: bytes) -> bytes:
        return _answered(answer_to_anthropic, body)

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        status, error = error_to_anthropic(status, json_object(body))
        return status, encode(error)

    def stream(self, asked: Asked) -> StreamTranslation:
        return StreamToAnthropic()


_BETWEEN: dict[tuple[str, str], Translation] = {
    ("chat", "anthropic"): ChatToMessages(),
    ("messages", "openai"): MessagesToChat(),
}


def translation(caller: Dialect, provider_dialect: str) -> Translation | None:
    """How the caller's format becomes the provider's; None: they are the same. Raises Untranslatable."""
    if caller.name == provider_dialect:
        return None
    found = _BETWEEN.get((caller.serves, provider_dialect))
    if found is None:
        raise Untranslatable(
            f"{caller.operation_path.decode()} cannot be translated: the model's provider speaks "
            f"{provider_dialect}'s format, which has no such operation"
        )
    return found


def _translated(
    translate: Callable[[Json, str, Asked, int], bytes], body: bytes, model: str, asked: Asked, ceiling_tokens: int
) -> bytes:
    given = json_object(body)
    if given is None:
        raise BadRequest("the body is no JSON object")
    try:
        return translate(given, model, asked, ceiling_tokens)
    except ODD:
        raise BadRequest("a field of the request has another type than its format gives it") from None


def _answered(translate: Callable[[Json], bytes], body: bytes) -> bytes:
    answer = json_object(body)
    if answer is None:
        raise Garbled("the answer is no JSON object")
    try:
        return translate(answer)
    except ODD:
        raise Garbled("a field of the answer has another type than its format gives it") from None
