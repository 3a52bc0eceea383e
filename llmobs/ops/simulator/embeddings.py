"""OpenAI's /embeddings: unit vectors that are the same for the same text, and near for texts that share words."""

import base64
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from llmobs.ops.simulator.answer import Answer
from llmobs.ops.simulator.asked import Asked, AskedError
from llmobs.ops.simulator.wire import Chunk, OpenAIErrors, encode

DIMENSIONS = {"text-embedding-3-large": 3072}
DEFAULT_DIMENSIONS = 1536
MOST_DIMENSIONS = 4096
MOST_TEXTS = 2048  # https://platform.openai.com/docs/api-reference/embeddings/create

Tokens = list[int]


class Request(msgspec.Struct):
    model: str
    input: str | list[str | int | Tokens]
    dimensions: int | None = None
    encoding_format: str | None = None


_decode = msgspec.json.Decoder(Request).decode


class EmbeddingsWire(OpenAIErrors):
    id_prefix = "embd-"

    def read(self, body: bytes) -> Asked:
        try:
            request = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise AskedError(f"the body is not an embeddings request: {error}") from None
        texts = _texts(request.input)
        dimensions = request.dimensions or DIMENSIONS.get(request.model, DEFAULT_DIMENSIONS)
        if not 1 <= len(texts) <= MOST_TEXTS or not all(texts):
            raise AskedError(f"input has {len(texts)} texts, not between 1 and {MOST_TEXTS}, or an empty one")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise AskedError(f"dimensions is {dimensions}, not between 1 and {MOST_DIMENSIONS}")
        return Asked(
            model=request.model,
            input_tokens=sum(len(text.split()) for text in texts),
            output_tokens=0,
            choices=0,
            last_text=texts[-1],
            texts=texts,
            dimensions=dimensions,
            is_base64=request.encoding_format == "base64",
        )

    def whole(self, answer: Answer, asked: Asked) -> bytes:
        data = [
            {"object": "embedding", "index": index, "embedding": _embedding(text, asked)}
            for index, text in enumerate(asked.texts)
        ]
        usage = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
        return encode({"object": "list", "data": data, "model": answer.model, "usage": usage})

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]:
        yield self.whole(answer, asked), 0


def _texts(given: str | list[str | int | Tokens]) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    tokens = [one for one in given if isinstance(one, int)]
    if tokens:
        return (" ".join(map(str, tokens)),)
    return tuple(one if isinstance(one, str) else " ".join(map(str, one)) for one in given if not isinstance(one, int))


def _embedding(text: str, asked: Asked) -> Any:
    vector = embed(text, asked.dimensions)
    if asked.is_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()


def embed(text: str, dimensions: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The sum of its words' directions, of length one."""
    total = np.sum([_direction(word, dimensions) for word in text.lower().split() or [""]], axis=0)
    whole: np.ndarray[Any, np.dtype[np.float64]] = total / np.linalg.norm(total)
    return whole


@lru_cache(maxsize=4096)
def _direction(word: str, dimensions: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dimensions)
