"""One trace: what happened, why so long, so dear?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString

from dashboards import numbers, panel
from dashboards.call_words import (
    INSTEAD,
    badges,
    bar_words,
    finding_words,
    free_words,
    hit_word,
    refusal_rows,
    sentence,
)
from dashboards.queries.contents import content_of
from dashboards.queries.slots import colour, slots_of
from dashboards.queries.trace import (
    MOST_OUTLINED,
    MOST_SPANS,
    FindingRow,
    SpanRow,
    findings_of,
    outline_of,
    prompt_id,
    scores_of,
    spans_of,
    trace,
)
from dashboards.queries.traces import TraceRow
from dashboards.tree import HEDGED, MISSING_PARENT, PIECE, Node, Tree, piece_of, tree_of
from dashboards.visit import Visit, page, show
from dashboards.waterfall import Axis, axis_of, bar_of
from llmobs.core.semconv import ERROR_STATUSES, REFUSED, SOURCE_GATEWAY
from llmobs.tenants.models import Tenant

SOURCES = {1: "gateway", 2: "OTLP", 3: "REST"}
DEGRADED = "llmobs.degraded"
LARGE = 150  # spans from which on the tree is built of outlines: it folds, and few rows are shown

Findings = Mapping[str, Sequence[FindingRow]]  # by span


@dataclass(frozen=True)
class Row:
    """A span's row in the tree."""

    node: Node
    bar: SafeString
    badges: list[tuple[str, str]]
    url: str
    name: str
    counts: str = ""  # where a duplicate report's cost is counted
    piece: str = ""  # the address of the rows below it that are not shown
    last: str = ""  # the last row below it that is shown

    @property
    def indent(self) -> int:
        return min(self.node.depth, 12)


@page("trace")
def one_trace(visit: Visit, trace_id: str) -> HttpResponse:
    """The whole trace; only the panel where htmx asks for it. 404 for one that is absent or another tenant's."""
    if not re.fullmatch(r"[0-9a-f]{32}", trace_id):
        raise Http404("There is no such trace.")
    # A link may come from elsewhere: any tenant that this person may see has it, not only the chosen one.
    everyone = tuple(tenant.pk for tenant in visit.seen.tenants)
    found = trace(visit.cursor, everyone, trace_id)
    if found is None:
        raise Http404("There is no such trace.")
    is_large = found.span_count > LARGE
    spans = outline_of(visit.cursor, found) if is_large else spans_of(visit.cursor, found)
    tree = tree_of(spans, visit.request.GET.get("open", ""))
    if not tree.nodes:
        raise Http404("There is no such trace.")
    if below := visit.request.GET.get("below", ""):
        return _piece(visit, found, tree, below)
    selected = tree.find(visit.request.GET.get("span", "")) or _worth_selecting(tree)
    selected.is_shown = True
    if is_large:
        _read_whole(visit, found, [*tree.shown, selected, *selected.attempts])
    tab = visit.request.GET.get("tab", "")
    findings = findings_of(visit.cursor, found)
    side = _panel(visit, found, selected, tab if tab in panel.TABS else _first_tab(selected), findings)
    if visit.request.headers.get("HX-Target") == "panel":
        return render(visit.request, "dashboards/_panel.html", {"visit": visit, "trace": found, **side})
    return _whole(visit, found, spans, tree, side, findings)


def _read_whole(visit: Visit, found: TraceRow, nodes: Sequence[Node]) -> None:
    """Of a large trace: these spans with all they have, where the tree was built of outlines."""
    whole = {span.span_id: span for span in spans_of(visit.cursor, found, [node.span.span_id for node in nodes])}
    for node in nodes:
        node.span = whole.get(node.span.span_id, node.span)


def _piece(visit: Visit, found: TraceRow, tree: Tree, below: str) -> HttpResponse:
    """The next rows below a span, for a page that shows the others: a large trace comes in pieces (PAINS 35)."""
    given = visit.request.GET.get("skip", "")
    skip = int(given) if given.isdecimal() and len(given) < 9 else 0
    nodes, left = piece_of(tree, below, skip)
    if found.span_count > LARGE:
        _read_whole(visit, found, nodes)
    slots = slots_of(visit.primary, [node.span.model for node in nodes if node.span.is_call])
    axis, findings = axis_of(tree), findings_of(visit.cursor, found)
    return render(
        visit.request,
        "dashboards/_tree_rows.html",
        {
            "visit": visit,
            "trace": found,
            "axis": axis,
            "rows": [_row(visit, found, node, tree, axis, slots, findings) for node in nodes],
            "left": left,
            "next": visit.url("trace", found.trace_id, below=below, skip=skip + PIECE),
        },
    )


def _whole(
    visit: Visit, found: TraceRow, spans: Sequence[SpanRow], tree: Tree, side: dict[str, Any], findings: Findings
) -> HttpResponse:
    slots = slots_of(visit.primary, [node.span.model for node in tree.shown if node.span.is_call])
    axis = axis_of(tree)
    return show(
        visit,
        "dashboards/trace.html",
        heading=found.name or "trace",
        crumb=("traces", "Traces"),
        identity=found.trace_id,
        plain_bar=True,
        actions="dashboards/_trace_actions.html",
        trace=found,
        tenant=next((t.name for t in visit.seen.tenants if t.pk == found.tenant_id and t != visit.seen.chosen), ""),
        rows=[_row(visit, found, node, tree, axis, slots, findings) for node in tree.shown],
        axis=axis,
        tree=tree,
        legend=_legend(tree, slots),
        facts=_facts(tree),
        sources=", ".join(SOURCES.get(source, "?") for source in dict.fromkeys(span.source for span in spans)),
        duplicates=sum(1 for node in tree.nodes if node.counted and node.span.is_call),
        is_cut=len(spans) < found.span_count and len(spans) in (MOST_SPANS, MOST_OUTLINED),
        scores=scores_of(visit.cursor, found),
        answer=_answer(visit, found, tree.nodes),
        **side,
    )


def _row(
    visit: Visit, found: TraceRow, node: Node, tree: Tree, axis: Axis, slots: dict[str, int], findings: Findings
) -> Row:
    span = node.span
    words = bar_words(node)
    if span.cache_read_input_tokens and span.input_tokens and span.is_counted:
        words = f"{round(100 * span.cache_read_input_tokens / span.input_tokens)} % from prefix cache"
    bar = bar_of(node, tree, axis, colour(slots.get(span.model)), words)
    counts = _counts_instead(tree, node)
    return Row(
        node,
        bar,
        [badge for badge in _badges(node, findings) if not counts or badge[1] != node.counted],
        visit.url("trace", found.trace_id, span=span.span_id),
        _name(node),
        visit.url("trace", found.trace_id, span=counts.span.span_id) if counts else "",
        visit.url("trace", found.trace_id, below=span.span_id) if node.folded else "",
        _last_shown(node).span.span_id,
    )


def _last_shown(node: Node) -> Node:
    """The lowest row of those below a span, or itself."""
    while shown := [child for child in node.children if child.is_shown]:
        node = shown[-1]
    return node


def _counts_instead(tree: Tree, node: Node) -> Node | None:
    """The span that counts the same response, where this is another report of it."""
    if not node.counted or not node.span.response_id:
        return None
    same = (other for other in tree.nodes if other.span.is_counted and other.span.response_id == node.span.response_id)
    return next(same, None)


def _name(node: Node) -> str:
    span = node.span
    name = span.model or span.name if span.is_call and span.source == SOURCE_GATEWAY else span.name
    return f"attempt {node.number} · {name}" if node.is_attempt else name


def _badges(node: Node, findings: Findings) -> list[tuple[str, str]]:
    found = []
    if node.is_orphan:
        found.append(("", MISSING_PARENT))
    found += badges(node, findings.get(node.span.span_id, ()))
    if node.counted:
        found.append(("", node.counted))
    if node.has_unknown_own:
        found.append(("warn", "unpriced"))
    return found


def _panel(visit: Visit, found: TraceRow, node: Node, tab: str, findings: Findings) -> dict[str, Any]:
    span = node.span
    told: dict[str, Any] = {
        "selected": node,
        "tab": tab,
        "tabs": [(name, visit.url("trace", found.trace_id, span=span.span_id, tab=name)) for name in panel.TABS],
        "badges": _badges(node, findings),
        "sentence": _sentence(node),
        "refusal": refusal_rows(span.attributes) if node.is_refused else [],
        "findings": finding_words(
            [each for of in [node, *_own_attempts(node)] for each in findings.get(of.span.span_id, ())]
        ),
        "prompt": _prompt(visit, found, span.prompt_version),
    }
    if tab == "messages":
        content = content_of(visit.cursor, found.tenant_id, span)
        told["input"] = panel.messages_of(content.input if content else None)
        told["output"] = panel.messages_of(content.output if content else None) or _answer(
            visit, found, _own_attempts(node)
        )
        told["policy"] = Tenant.objects.values_list("content", flat=True).get(pk=found.tenant_id)
    elif tab == "cost":
        told["cost"] = panel.cost_of(visit.cursor, found, node)
        told["kind_words"] = panel.KIND_WORDS
        told["free_words"] = free_words(node)
    elif tab == "attempts":
        told["attempts"] = node.attempts or ([node] if span.is_call else [])
    elif tab == "attributes":
        told["attributes"] = panel.attributes_of(node)
    else:
        told["raw"] = panel.raw_of(node)
    return told


def _sentence(node: Node) -> str:
    if own := sentence(node):
        return own
    span, length = node.span, numbers.duration(node.span.duration_ns)
    if node.is_refused:
        return f"Refused by us: {span.error_type.replace('_', ' ')}. {span.status_message}"
    if node.is_failed:
        return f"{span.error_type.replace('_', ' ') or 'failed'} after {length}. {span.status_message}"
    if not span.is_call:
        calls = f", {node.calls} call{'s' if node.calls != 1 else ''} in it" if node.calls else ""
        return f"{span.operation_name or 'span'}, {length}{calls}"
    asked = span.request_model or "a model"
    answered = f", answered by {span.response_model}" if span.response_model not in ("", asked) else ""
    first = f", first token after {numbers.duration(span.ttft_ns)}" if span.ttft_ns else ""
    return f"Asked {asked}{answered} in {length}{first}"


def _first_tab(node: Node) -> str:
    return "cost" if node.calls or node.span.is_call else "attributes"


def _worth_selecting(tree: Tree) -> Node:
    """The dearest call, with its attempts together, else the first span."""
    calls = [n for n in tree.nodes if n.is_shown and (n.is_own_call or (n.span.is_call and not n.is_attempt))]
    return max(calls, key=lambda node: _cost_of_call(node), default=tree.nodes[0])


def _cost_of_call(node: Node) -> int:
    return node.sum_nanousd if node.is_own_call else node.span.cost_nanousd or 0


def _own_attempts(node: Node) -> list[Node]:
    return node.attempts if node.is_own_call else []


def _prompt(visit: Visit, found: TraceRow, version: str) -> tuple[str, str] | None:
    """A registered prompt's version, as text and its page's address ("": the prompt is gone)."""
    name, at, number = version.rpartition("@")
    if not at:
        return None
    known = prompt_id(visit.cursor, found.tenant_id, name)
    return version, visit.url("prompts", prompt=known, version=number) if known else ""


def _legend(tree: Tree, slots: dict[str, int]) -> list[tuple[str, str]]:
    models = dict.fromkeys(
        n.span.model for n in tree.shown if n.span.is_call and n.span.is_counted and not n.is_refused
    )
    found = [(colour(slots.get(name)), name) for name in models if name]
    found += [("tool", "tool")] if any(node.is_tool for node in tree.shown) else []
    found += [("around", "around it")] if any(not node.span.is_call for node in tree.shown) else []
    return found + ([("bad-fill", "failed or refused")] if any(n.is_failed or n.is_refused for n in tree.shown) else [])


def _facts(tree: Tree) -> dict[str, Any]:
    calls = [node for node in tree.nodes if node.span.is_call]
    counted = [node for node in calls if node.span.is_counted]
    asked = [node for node in counted if node.span.status != REFUSED]
    attempts = sum(node.is_attempt for node in counted)
    several = sum(1 for node in tree.nodes if node.children and node.is_own_call and node.attempts)
    estimated = sum(node.span.cost_nanousd or 0 for node in counted if node.span.is_estimated)
    return {
        "calls": sum(not node.is_attempt for node in asked) + several,
        "attempts": len(asked) if attempts else 0,
        "failed": sum(1 for node in counted if node.span.status in ERROR_STATUSES),
        "cached": sum(1 for node in counted if node.span.attributes and hit_word(node)),
        "refused": sum(1 for node in calls if node.span.status == REFUSED),
        "estimated": estimated,
    }


def _answer(visit: Visit, found: TraceRow, nodes: list[Node]) -> list[panel.Message]:
    """What the last call that was answered said, if it was kept."""
    kept = [node for node in nodes if node.span.block_id is not None]
    calls = [n for n in kept if (n.span.is_call and n.span.is_counted) or n.span.attributes.get(DEGRADED) in INSTEAD]
    answered = [n for n in calls if n.span.status in ("ok", "degraded") and n.span.error_type != HEDGED]
    if not answered:
        return []
    content = content_of(visit.cursor, found.tenant_id, max(answered, key=lambda node: node.end_ns).span)
    return panel.messages_of(content.output if content else None)
