"""From a caller's format to a provider's and back, where the two are not the same.

The provider is spoken to in `speaks`, whose methods read usage and ends from the provider's own bytes; what the caller
sees is translated from the same bytes.
"""

import time
from collections.abc import Callable, Collection
from typing import Protocol

from gateway.dialects.answer_to_anthropic import answer_to_anthropic
from gateway.dialects.answer_to_openai import answer_to_openai
from gateway.dialects.answer_to_responses import answer_to_responses
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.dialect import Asked, BadRequest, Dialect
from gateway.dialects.errors_between import error_to_anthropic, error_to_openai
from gateway.dialects.openai import OpenAI
from gateway.dialects.openai_family import is_reasoning, may_think
from gateway.dialects.stream_to_anthropic import StreamToAnthropic
from gateway.dialects.stream_to_openai import StreamToOpenAI
from gateway.dialects.stream_to_responses import StreamToResponses
from gateway.dialects.to_anthropic import to_anthropic
from gateway.dialects.to_chat import to_chat
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


class ResponsesToChat:
    """The caller speaks responses, the provider of the same family knows chat completions only."""

    def __init__(self) -> None:
        self.speaks: Dialect = OpenAI()

    def request(self, body: bytes, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
        return _translated(_responses_to_chat, body, model, asked, ceiling_tokens)

    def answer(self, body: bytes) -> bytes:
        return _answered(answer_to_responses, body)

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        return status, body  # one family, one form of errors

    def stream(self, asked: Asked) -> StreamTranslation:
        return StreamToResponses()


class ResponsesToMessages:
    """The caller speaks responses, the provider Anthropic's messages: by way of chat completions."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._first, self._second = ResponsesToChat(), ChatToMessages(clock)
        self.speaks = self._second.speaks

    def request(self, body: bytes, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
        return _translated(_responses_to_messages, body, model, asked, ceiling_tokens)

    def answer(self, body: bytes) -> bytes:
        return self._first.answer(self._second.answer(body))

    def error(self, status: int, body: bytes) -> tuple[int, bytes]:
        return self._second.error(status, body)

    def stream(self, asked: Asked) -> StreamTranslation:
        return _Chained(self._second.stream(asked), StreamToResponses())


class _Chained:
    """Two translations of one stream, one behind the other."""

    def __init__(self, first: StreamTranslation, second: StreamTranslation) -> None:
        self._first, self._second = first, second

    def feed(self, block: bytes) -> bytes:
        said = self._first.feed(block)
        return self._second.feed(said) if said else b""

    def end(self) -> bytes:
        said = self._first.end()
        return (self._second.feed(said) if said else b"") + self._second.end()


def _responses_to_chat(given: Json, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
    sent = to_chat(given, model, asked)
    if not may_think(model):
        sent.pop("reasoning_effort", None)
    if is_reasoning(model):
        sent.pop("temperature", None)
        sent.pop("top_p", None)
    for message in sent["messages"]:
        message.pop("thinking_blocks", None)  # another format's
    sent["messages"] = [message for message in sent["messages"] if message.keys() != {"role"}]
    return encode(sent)


def _responses_to_messages(given: Json, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
    return to_anthropic(to_chat(given, model, asked), model, asked, ceiling_tokens)


_TO_OTHER: dict[tuple[str, str], Translation] = {
    ("chat", "anthropic"): ChatToMessages(),
    ("messages", "openai"): MessagesToChat(),
    ("responses", "openai"): ResponsesToChat(),  # where the provider knows none
    ("responses", "anthropic"): ResponsesToMessages(),
}


def translation(caller: Dialect, provider_dialect: str, serves: Collection[str] = ()) -> Translation | None:
    """How the caller's format becomes the provider's; None: they are the same. Raises Untranslatable.

    `serves` names the operations that the provider speaks; empty: all of its format's.
    """
    if caller.name == provider_dialect and (not serves or caller.serves in serves):
        return None
    found = _TO_OTHER.get((caller.serves, provider_dialect))
    if found is None or (serves and found.speaks.serves not in serves):
        raise Untranslatable(
            f"{caller.operation_path.decode()} cannot be translated: the model's provider speaks "
            f"{provider_dialect}'s format, and has no such operation"
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
