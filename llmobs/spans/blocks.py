"""Payload blocks: the contents of up to three hundred spans of one tenant and day, compressed together.

Agent histories repeat themselves from span to span, which is why spans share a block. A block is zstd of msgpack: a
list by slot of [input, output], texts or nulls.
"""

from datetime import date
from typing import Any

import msgspec
import psycopg
import zstandard

# 751 bytes a span of the ingest benchmark's, where 200 made 759 and 400 make 747, at the same time each; a page that
# shows one span takes 0.13 ms more than with 200.
SPANS_PER_BLOCK = 300
BYTES_PER_BLOCK = 4 * 1024 * 1024  # before compression: one page view decompresses at most about this
LEVEL = 3
# Of large blocks, smaller tables than the level's, which stay in the processor's cache: the same bytes (750 a span of
# the ingest benchmark's, 388 of agents' histories) in 85 % of the time. Small ones zstd knows better.
_LARGE_BYTES = 256 * 1024
_LARGE = zstandard.ZstdCompressionParameters(
    window_log=22, hash_log=14, chain_log=16, search_log=1, min_match=5, strategy=zstandard.STRATEGY_DFAST
)

Content = tuple[str | None, str | None]


def make_block(contents: list[Content]) -> bytes:
    """The body of a block."""
    try:
        plain = msgspec.msgpack.encode(contents)
    except UnicodeEncodeError:  # rare: only then is each looked at
        plain = msgspec.msgpack.encode([storable(content) for content in contents])
    if len(plain) > _LARGE_BYTES:
        return zstandard.ZstdCompressor(compression_params=_LARGE).compress(plain)
    return zstandard.ZstdCompressor(level=LEVEL).compress(plain)


def read_block(body: bytes) -> list[Content]:
    """What `make_block` was given."""
    # Written by ourselves, but a bound all the same: a body says how large it becomes.
    plain = zstandard.ZstdDecompressor().decompress(body, max_output_size=2**31 - 1)
    return [(given, answered) for given, answered in msgspec.msgpack.decode(plain)]


def read_content(conn: psycopg.Connection[Any], tenant_id: int, block_id: int, day: date, slot: int) -> Content:
    """One span's content; (None, None) where its block was erased. `day` is that of the span's start (UTC)."""
    row = conn.execute(
        "SELECT body FROM payload_block WHERE tenant_id = %s AND block_id = %s AND day = %s",
        (tenant_id, block_id, day),
        binary=True,
    ).fetchone()
    if row is None:
        return None, None
    contents = read_block(row[0])
    return contents[slot] if slot < len(contents) else (None, None)


def storable(content: Content) -> Content:
    """As it is read back: msgpack refuses lone surrogates, which JSON can smuggle in."""
    given, answered = content
    return _text(given), _text(answered)


def _text(text: str | None) -> str | None:
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()
