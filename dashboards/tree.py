"""The spans of a trace as a tree: what each cost alone and with its children, and which rows to show.

Sums are over counted calls only, so each cent is in them once; what another span counts stands in brackets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import nlargest
from itertools import islice
from operator import attrgetter

from dashboards.queries.trace import SpanRow
from llmobs.core.semconv import ERROR_STATUSES, EXECUTE_TOOL, OK, REFUSED, SOURCE_GATEWAY

# A row is about 600 bytes of HTML and a page at most 100 KB: longer trees fold to this depth, and to the ways to the
# dearest, slowest and failed spans.
FOLD_ABOVE = 150
FOLD_DEPTH = 2
PIECE = 150  # children that are loaded at once
OUTSTANDING = 8  # of each kind that stay in sight
HEDGED = "hedged"  # an attempt beside another one, which answered first
_BY_START = attrgetter("start_ns")
MISSING_PARENT = "parent not received (yet)"


@dataclass(slots=True, eq=False)
class Node:
    """A span in its place. Sums include the span itself."""

    span: SpanRow
    start_ns: int
    depth: int = 0
    children: list["Node"] = field(default_factory=list)
    is_orphan: bool = False
    sum_nanousd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    unpriced: int = 0
    is_estimated: bool = False
    size: int = 1
    counted: str = ""
    is_shown: bool = True
    folded: int = 0  # spans below that are not shown
    position: int = 1
    siblings: int = 1
    is_attempt: bool = False  # of the call above it
    is_poor: bool = False  # an answer after which a better one was asked for

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.span.duration_ns

    @property
    def is_failed(self) -> bool:
        return self.span.status in ERROR_STATUSES

    @property
    def is_refused(self) -> bool:
        return self.span.status == REFUSED

    @property
    def is_tool(self) -> bool:
        return self.span.operation_name == EXECUTE_TOOL

    @property
    def is_known_free(self) -> bool:
        """A refusal, and a failed attempt without usage, cost nothing, and that is known."""
        if not self.span.is_call or self.span.cost_nanousd is not None:
            return False
        was_free = self.is_failed and self.span.input_tokens is None and self.span.source == SOURCE_GATEWAY
        return self.is_refused or was_free

    @property
    def own_nanousd(self) -> int | None:
        return 0 if self.is_known_free else self.span.cost_nanousd

    @property
    def has_unknown_own(self) -> bool:
        """A counted call whose price is not known: shown as –."""
        return self.span.is_call and self.span.is_counted and self.own_nanousd is None

    @property
    def sum_or_unknown(self) -> int | None:
        """Cost with children; None where there are calls below and none has a price."""
        return None if self.unpriced and self.unpriced == self.calls else self.sum_nanousd

    @property
    def has_sum(self) -> bool:
        return bool(self.calls) or self.is_known_free

    @property
    def is_own_call(self) -> bool:
        """The gateway's span of a whole call: over its attempts, or of an answer without any."""
        return self.span.source == SOURCE_GATEWAY and "llmobs.attempts" in self.span.attributes

    @property
    def number(self) -> int:
        """Of an attempt among those of its call."""
        number = self.span.attributes.get("llmobs.attempt", 1)
        return number if isinstance(number, int) else 1

    @property
    def attempts(self) -> list["Node"]:
        return [child for child in self.children if child.span.is_call]


@dataclass(frozen=True)
class Tree:
    """All nodes in drawing order, and the time that they span."""

    nodes: list[Node]
    start_ns: int
    end_ns: int
    is_folded: bool

    @cached_property
    def shown(self) -> list[Node]:
        """Asked for once it is decided which are."""
        return [node for node in self.nodes if node.is_shown]

    def find(self, span_id: str) -> Node | None:
        return next((node for node in self.nodes if node.span.span_id == span_id), None)


def tree_of(spans: Sequence[SpanRow], unfolded: str = "") -> Tree:
    """The tree, folded where it is long; below `unfolded` everything is shown."""
    nodes = {span.span_id: Node(span, span.start_ns) for span in spans}
    roots = []
    for node in nodes.values():
        parent = nodes.get(node.span.parent_span_id or "")
        if parent is None or parent is node:
            node.is_orphan = node.span.parent_span_id is not None
            roots.append(node)
        else:
            parent.children.append(node)
    ordered = _in_order(roots)
    if len(ordered) < len(nodes):
        ordered += _hanging_nowhere(ordered, nodes)
    _sum_up(ordered)
    is_folded = len(ordered) > FOLD_ABOVE
    if is_folded:
        _fold(ordered, nodes, unfolded)
    start_ns = min((node.start_ns for node in ordered), default=0)
    return Tree(ordered, start_ns, max((node.end_ns for node in ordered), default=0), is_folded)


def _hanging_nowhere(ordered: list[Node], nodes: dict[str, Node]) -> list[Node]:
    """Spans that name each other as parents."""
    seen, hanging = {node.span.span_id for node in ordered}, []
    for node in nodes.values():
        if node.span.span_id not in seen:
            node.is_orphan = True
            found = [each for each in _in_order([node], seen) if each.span.span_id not in seen]
            seen |= {each.span.span_id for each in found}
            hanging += found
    return hanging


def _in_order(roots: list[Node], seen: set[str] | None = None) -> list[Node]:
    """Depth first, children by start; without recursion, since traces can be deep."""
    found: list[Node] = []
    visited = set(seen or ())
    waiting = sorted(roots, key=_BY_START, reverse=True)
    while waiting:
        node = waiting.pop()
        span_id = node.span.span_id
        if span_id in visited:
            continue
        visited.add(span_id)
        found.append(node)
        if not node.children:
            continue
        node.children = [child for child in node.children if child.span.span_id not in visited]
        node.children.sort(key=_BY_START)
        for position, child in enumerate(node.children, 1):
            child.depth, child.position, child.siblings = node.depth + 1, position, len(node.children)
        if node.is_own_call:
            _mark_attempts(node.attempts)
        waiting.extend(reversed(node.children))
    return found


def _mark_attempts(attempts: list[Node]) -> None:
    """In a cascade an answer is poor when another attempt came after it; a hedge's second one came beside it."""
    for index, attempt in enumerate(attempts):
        attempt.is_attempt = True
        is_good = attempt.span.status == OK and attempt.span.error_type != HEDGED
        attempt.is_poor = is_good and any(later.span.error_type != HEDGED for later in attempts[index + 1 :])


def _sum_up(ordered: list[Node]) -> None:
    for node in reversed(ordered):  # children come after their parents
        span = node.span
        if span.is_call and span.is_counted:
            node.calls += 1
            if span.cost_nanousd is None:
                node.unpriced += node.has_unknown_own
            else:
                node.sum_nanousd += span.cost_nanousd
            node.input_tokens += span.input_tokens or 0
            node.output_tokens += span.output_tokens or 0
            node.is_estimated |= span.is_estimated
        for child in node.children:
            node.sum_nanousd += child.sum_nanousd
            node.input_tokens += child.input_tokens
            node.output_tokens += child.output_tokens
            node.calls += child.calls
            node.unpriced += child.unpriced
            node.is_estimated |= child.is_estimated
            node.size += child.size
        if span.is_call and not span.is_counted and span.input_tokens is not None:
            node.counted = "counted below" if node.calls else "counted elsewhere"


def piece_of(tree: Tree, span_id: str, skip: int) -> tuple[list[Node], int]:
    """The next children of a span that are not shown, folded themselves, after so many; and how many are left then."""
    node = tree.find(span_id)
    hidden = [child for child in node.children if not child.is_shown] if node else []
    piece = hidden[skip : skip + PIECE]
    for child in piece:
        child.folded = child.size - 1
    return piece, max(len(hidden) - skip - PIECE, 0)


def _below(nodes: dict[str, Node], span_id: str) -> set[str]:
    if span_id not in nodes:
        return set()
    return {node.span.span_id for node in _in_order([nodes[span_id]])[: FOLD_ABOVE * 2]}


def _fold(ordered: list[Node], nodes: dict[str, Node], unfolded: str) -> None:
    kept = {node.span.span_id for node in ordered if node.depth <= FOLD_DEPTH}
    costs = [node.span.cost_nanousd or 0 for node in ordered]
    dearest = [ordered[at] for at in nlargest(OUTSTANDING, range(len(ordered)), key=costs.__getitem__)]
    leaves = [node for node in ordered if not node.children]
    durations = [node.span.duration_ns for node in leaves]
    slowest = [leaves[at] for at in nlargest(OUTSTANDING, range(len(leaves)), key=durations.__getitem__)]
    failed = list(islice((node for node in ordered if node.span.status in ERROR_STATUSES), OUTSTANDING))
    outstanding = set()
    for node in [*dearest, *slowest, *failed]:
        outstanding.add(node.span.span_id)
        kept.add(node.span.span_id)
        parent = nodes.get(node.span.parent_span_id or "")
        while parent is not None and parent.span.span_id not in outstanding:
            outstanding.add(parent.span.span_id)
            kept.add(parent.span.span_id)
            parent = nodes.get(parent.span.parent_span_id or "")
    kept |= _below(nodes, unfolded)
    if len(kept) > FOLD_ABOVE * 3:  # very wide: the first of them, and what stands out
        first = [node.span.span_id for node in ordered if node.span.span_id in kept and node.depth <= 1]
        kept = set(first[:FOLD_ABOVE]) | outstanding | _below(nodes, unfolded)
    for node in ordered:
        node.is_shown = node.span.span_id in kept
        if node.children:
            node.folded = sum(child.size for child in node.children if child.span.span_id not in kept)
