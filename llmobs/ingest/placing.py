"""Which block and slot a batch's contents and details go to: blocks are of one tenant and day, and bounded."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Generic, TypeVar

from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.ids import new_row_id
from llmobs.core.semconv import SOURCE_OTLP
from llmobs.ingest.copying import stored_json
from llmobs.spans.blocks import BYTES_PER_BLOCK, SPANS_PER_BLOCK, Content
from llmobs.spans.details import DETAILS_PER_BLOCK, Detail
from llmobs.spans.record import Span, stored_attributes

# Of so many spans of a tenant's day, a block pays: of fewer its own row, index entry and COPY weigh more than it saves.
FEWEST_TOGETHER = 8

_DAY_NS = 86_400 * NS_PER_SECOND
_EPOCH_DAY = date(1970, 1, 1)

Item = TypeVar("Item")
Owner = tuple[int, int]  # tenant, day since 1970
Key = tuple[int, int, date]  # tenant, block, day
Places = list[tuple[int, int] | None]  # block and slot of each span


@dataclass(slots=True)
class Block(Generic[Item]):
    """One that is filled. `size`: the bytes in it."""

    block_id: int
    items: list[Item]
    size: int = 0


@dataclass(slots=True)
class Filling(Generic[Item]):
    """Blocks while they are filled. `current`: of each owner the one that has room."""

    most: int  # in a block
    blocks: dict[Key, list[Item]] = field(default_factory=dict)
    current: dict[Owner, Block[Item]] = field(default_factory=dict)

    def put(self, owner: Owner, item: Item, size: int) -> tuple[int, int]:
        """Block and slot of this item of a span of the owner's."""
        block = self.current.get(owner)
        if block is None or len(block.items) >= self.most or block.size + size > BYTES_PER_BLOCK:
            block = self.current[owner] = Block(new_row_id(), [])
            self.blocks[owner[0], block.block_id, _EPOCH_DAY + timedelta(days=owner[1])] = block.items
        slot = len(block.items)
        block.items.append(item)
        block.size += size
        return block.block_id, slot


def place_contents(spans: Iterable[Span]) -> tuple[Places, dict[Key, list[Content]]]:
    """Of each span that has content."""
    places: Places = []
    filling = Filling[Content](SPANS_PER_BLOCK)
    for span in spans:
        if span.input is None and span.output is None:
            places.append(None)
            continue
        size = len(span.input or "") + len(span.output or "")
        owner = (span.tenant_id, span.start_ns // _DAY_NS)
        places.append(filling.put(owner, (span.input, span.output), size))
    return places, filling.blocks


def place_details(spans: Sequence[Span]) -> tuple[Places, dict[Key, list[Detail]]]:
    """Of each reported span that comes with enough others; the rows of the rest have theirs themselves."""
    owners = [(span.tenant_id, span.start_ns // _DAY_NS) for span in spans]
    together = Counter(owner for owner, span in zip(owners, spans, strict=True) if span.source == SOURCE_OTLP)
    places: Places = []
    filling = Filling[Detail](DETAILS_PER_BLOCK)
    for owner, span in zip(owners, spans, strict=True):
        if span.source != SOURCE_OTLP or together[owner] < FEWEST_TOGETHER:
            places.append(None)
            continue
        detail = detail_of(span)
        places.append(filling.put(owner, detail, len(detail.attributes)))
    return places, filling.blocks


def detail_of(span: Span) -> Detail:
    """What of the span goes into a block."""
    return Detail(stored_json(stored_attributes(span)), span.scope_name, span.finish_reasons, span.price_version)
