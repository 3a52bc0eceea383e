"""Anthropic's count of a request's tokens as a client's wire format: it is free."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from gateway.dialects.anthropic import Anthropic, asked_of
from gateway.dialects.dialect import Answered, Asked, count
from gateway.dialects.wire import Head, json_object, read_request
from llmobs.pricing.usage import Usage


class _Request(Head, kw_only=True):
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


_read = msgspec.json.Decoder(_Request).decode


class CountTokens(Anthropic):
    """Anthropic's dialect of token counts."""

    serves = "count_tokens"
    operation_path = b"/v1/messages/count_tokens"

    def read(self, body: bytes) -> Asked:
        asked = asked_of(body, read_request(_read, body), 0)
        asked.is_stream, asked.is_free = False, True
        asked.choices = asked.unseen_input_tokens = 0
        asked.cache_write, asked.thinks = "", False
        return asked

    def streaming(self, body: bytes, is_stream: bool) -> bytes:
        return body

    def answered(self, body: bytes) -> Answered | None:
        answer: dict[str, Any] | None = json_object(body)
        if answer is None or count(answer.get("input_tokens")) is None:
            return super().answered(body)  # an error, or nothing of this format
        return Answered(usage=Usage())

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        return Answered()
