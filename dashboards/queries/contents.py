"""The contents of spans, as far as the policy kept them: each block is read once, however many spans share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from dashboards.queries.scope import Cursor
from dashboards.queries.trace import SpanRow
from llmobs.spans.blocks import read_block

# One answer of the REST API: what lies beyond is left out, which the answer says.
MOST_CHARACTERS = 32 * 1024 * 1024


@dataclass(frozen=True)
class Content:
    """What was kept of a span's messages: JSON texts, None where there is nothing."""

    input: str | None
    output: str | None


def content_of(cursor: Cursor, tenant_id: int, span: SpanRow) -> Content | None:
    """One span's messages; None where none were kept."""
    return contents_of(cursor, tenant_id, [span]).get(span.span_id)


def contents_of(cursor: Cursor, tenant_id: int, spans: Sequence[SpanRow]) -> dict[str, Content]:
    """Contents by span id, for spans in their order until MOST_CHARACTERS; a span without any is left out."""
    found: dict[str, Content] = {}
    kept = [span for span in spans if span.block_id is not None and span.block_slot is not None]
    blocks: dict[int, list[SpanRow]] = {}
    for span in kept:
        blocks.setdefault(span.block_id or 0, []).append(span)
    characters = 0
    for block_id, in_block in blocks.items():
        day = in_block[0].start.date()
        cursor.execute(
            "SELECT body FROM payload_block WHERE tenant_id = %s AND block_id = %s AND day BETWEEN %s AND %s",
            [tenant_id, block_id, day - timedelta(days=1), day + timedelta(days=1)],
        )
        row = cursor.fetchone()
        contents = read_block(bytes(row[0])) if row else []
        for span in in_block:
            slot = span.block_slot or 0
            if slot < len(contents):
                content = Content(*contents[slot])
                characters += len(content.input or "") + len(content.output or "")
                if characters > MOST_CHARACTERS:
                    return found
                found[span.span_id] = content
    return found
