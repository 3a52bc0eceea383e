"""OpenAI's embeddings as a client's wire format."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.dialects.dialect import Answered, Asked, count, text
from gateway.dialects.openai_family import OpenAIFamily, OpenAIHead, error_type
from gateway.dialects.wire import attribute, json_object, read_request, with_fields
from llmobs.pricing.usage import Usage


class _Request(OpenAIHead, kw_only=True):
    # A text, texts, tokens, lists of tokens; whatever else a provider knows (pictures, say) it may check itself.
    input: msgspec.Raw


_read = msgspec.json.Decoder(_Request).decode


class Embeddings(OpenAIFamily):
    """OpenAI's dialect of embeddings."""

    serves = operation_name = "embeddings"
    operation_path = b"/embeddings"

    def read(self, body: bytes) -> Asked:
        request = read_request(_read, body)
        asked = Asked(
            model=text(request.model),
            is_stream=False,
            most_output_tokens=0,
            choices=0,  # nothing is written
            unseen_input_tokens=0,
            unseen_output_tokens=0,
            cache_write="",
            thinks=False,
            wants_usage=True,
            user=text(request.user or request.safety_identifier),
        )
        attribute(asked, request.metadata)
        return asked

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        return body if model == asked.model else with_fields(body, model=model)

    def capped(self, body: bytes, most_output_tokens: int, asked: Asked) -> bytes:
        return body

    def streaming(self, body: bytes, is_stream: bool) -> bytes:
        return body

    def may_think(self, model: str) -> bool:
        return False

    def may_write_cache(self, model: str) -> bool:
        return False

    def answered(self, body: bytes) -> Answered | None:
        answer = json_object(body)
        if answer is None:
            return None
        if answer.get("error") is not None:
            return Answered(error_type=error_type(answer["error"]))
        if not isinstance(answer.get("data"), list):
            return None
        return Answered(usage=_usage(answer.get("usage")), response_model=text(answer.get("model")))

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        return Answered()

    def is_last(self, block: bytes) -> bool:
        return False

    def shown_bytes(self, events: bytes) -> int:
        return 0


def _usage(usage: Any) -> Usage | None:
    """Servers that report one number of both kinds exist: an embedding has no output."""
    if not isinstance(usage, dict):
        return None
    given = count(usage.get("prompt_tokens"))
    given = count(usage.get("total_tokens")) if given is None else given
    return None if given is None else Usage(given)
