"""What a dialect can do: a client's wire format, for one operation.

`openai`, `responses`, `embeddings` are of OpenAI's family; `anthropic`, `count_tokens` of Anthropic's.
A dialect reads: what a request asks for, what a whole answer reported, what a stream reported. It never builds a
message of its own: bytes pass untouched. From one family to the other: `translation`.
"""

import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from llmobs.pricing.upper import Apart
from llmobs.pricing.usage import Usage

# Above any model's; what is more is a mistake, and would hold a whole budget.
MOST_OUTPUT_TOKENS = 10_000_000
MOST_CHOICES = 128
MOST_REPORTED_TOKENS = 10**10  # what is more is no count
MOST_MODEL_CHARACTERS = 200

# What a part costs that its bytes do not show. An image: gpt-4o-mini bills up to 2,833 + 8 tiles x 5,667 tokens.
IMAGE_TOKENS = 50_000
# A file is text and a picture of each page: as much as the longest context window takes.
FILE_TOKENS = 1_000_000
# Tools come with a system prompt of the provider's own (Anthropic documents up to 735 tokens).
TOOLS_TOKENS = 1_000
# A tool of the provider's own brings pages, files and further turns into the input.
SERVER_TOOL_TOKENS = 1_000_000
# How often one answer runs a tool of the provider's own where the request sets no bound (Anthropic pauses a turn after
# ten rounds of them, OpenAI documents none).
MOST_TOOL_RUNS = 100


class BadRequest(Exception):
    """The body is not a request of this format; the message says what and why, without the caller's text."""


class Asked(msgspec.Struct, gc=False):
    """What a request asks for, whatever its format."""

    model: str
    is_stream: bool
    most_output_tokens: int | None  # of one choice; None: the model's own ceiling
    choices: int
    unseen_input_tokens: int  # what may be billed beyond one token for each byte of the body
    unseen_output_tokens: int  # what may be billed as output beyond the ceiling
    cache_write: str  # "", "5m" or "1h": the dearest cache marker in it
    thinks: bool  # asks for reasoning, which may be billed without being shown
    wants_usage: bool  # a stream's usage is for the caller to see
    user: str = ""
    feature: str = ""
    environment: str = ""
    session: str = ""
    is_free: bool = False  # the provider does not bill this operation
    apart: Apart | None = None  # what may be billed besides text at the usual tier


class Answered(msgspec.Struct, gc=False):
    """What an answer, or the end of a stream, reported about itself."""

    usage: Usage | None = None
    response_id: str = ""
    response_model: str = ""
    finish_reasons: tuple[str, ...] = ()
    error_type: str = ""  # an error in the place of an answer, or at the end of a stream
    stated_nanousd: int | None = None  # the provider's own word for what it costs


class Dialect(Protocol):
    """One wire format, for one operation."""

    name: str  # the family, which errors look like: openai or anthropic
    serves: str  # the operation in a word: chat, responses, embeddings, messages, count_tokens
    operation_name: str  # as OpenTelemetry calls it: chat or embeddings
    operation_path: bytes  # below a provider's base URL

    def read(self, body: bytes) -> Asked:
        """What the request asks for. Raises BadRequest."""

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        """The body to send: the caller's own bytes, but for the model's name there and a wish for usage."""

    def capped(self, body: bytes, most_output_tokens: int, asked: Asked) -> bytes:
        """The body with an output ceiling where it has none."""

    def streaming(self, body: bytes, is_stream: bool) -> bytes:
        """The body that asks for a stream, or for a whole answer."""

    def may_write_cache(self, model: str) -> bool:
        """Whether the model is known to write to the provider's cache unasked, and to bill that dearer than input."""

    def may_think(self, model: str) -> bool:
        """Whether the model is known to think unasked, and to bill thoughts that it does not show."""

    def credential_headers(self, credential: str) -> bytes:
        """Header lines that carry the provider's credential."""

    def answered(self, body: bytes) -> Answered | None:
        """What a whole answer reported; None: it is none of this format."""

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        """What a stream's events reported, from its first and last blocks."""

    def is_last(self, block: bytes) -> bool:
        """Whether the block of whole events holds the event after which nothing comes."""

    def without_usage(self, block: bytes) -> bytes:
        """The block without the usage that the caller did not ask for."""

    def shown_bytes(self, events: bytes) -> int:
        """UTF-8 bytes of all text that the model wrote in these events: at least one for each token shown."""


_ESCAPED = re.compile(rb"\\u00([2-7][0-9a-fA-F])")


def plain(body: bytes) -> bytes:
    """The body with ASCII letters as themselves: JSON may write any of a name's letters as an escape."""
    if b"\\" not in body or b"\\u00" not in body:  # a search for one byte is ten times as fast
        return body
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), body)


def names_in(body: bytes, pattern: re.Pattern[bytes]) -> bytes:
    """Those of the names that stand in a body, each as often as it does, in quotes: little to look at, found in one go.

    `pattern` begins at a quote and ends before one.
    """
    found = pattern.findall(plain(body))
    return b'" '.join(found) + b'"' if found else b""


def events(blocks: bytes) -> list[bytes]:
    """The data of each event of an SSE text (events of one data line, as both formats send them)."""
    found = []
    for line in blocks.split(b"\n"):
        if line.startswith(b"data:"):
            found.append(line[5:].strip())
    return found


def text_bytes(value: object) -> int:
    """UTF-8 bytes of all texts within a JSON value."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, dict):
        return sum(text_bytes(inner) for inner in value.values())
    if isinstance(value, list):
        return sum(text_bytes(inner) for inner in value)
    return 0


def count(value: object) -> int | None:
    """A number of tokens as a provider reports it; None: it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_REPORTED_TOKENS:
        return None
    return value


def text(value: object, most: int = 200) -> str:
    """A text from outside, cut, and without what PostgreSQL cannot hold (NUL, lone surrogates)."""
    if not isinstance(value, str) or not value:
        return ""
    if value.isascii() and len(value) <= most and "\x00" not in value:
        return value
    return value[:most].replace("\x00", "").encode("utf-8", "replace").decode()
