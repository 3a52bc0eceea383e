"""The tree of a trace: sums, duplicates, orphans, folding."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboards.queries.trace import SpanRow
from dashboards.tree import FOLD_ABOVE, tree_of

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def span(span_id: str, parent: str | None = None, after_ms: int = 0, **changes: Any) -> SpanRow:
    blank: dict[str, Any] = {f.name: "" for f in fields(SpanRow)}
    blank |= {name: None for name in blank if name.endswith(("_tokens", "cost_nanousd"))}
    blank |= {"parent_span_id": parent, "span_id": span_id, "start": START + timedelta(milliseconds=after_ms)}
    blank |= {"duration_ns": 1_000_000, "is_call": False, "is_counted": False, "is_estimated": False, "status": "ok"}
    blank |= {
        "ttft_ns": None,
        "adapter": None,
        "block_id": None,
        "block_slot": None,
        "attributes": {},
        "finish_reasons": (),
        "source": 1,
    }
    return SpanRow(**(blank | changes))


def call(span_id: str, parent: str | None, cost: int | None, **changes: Any) -> SpanRow:
    usual = {"is_call": True, "is_counted": True, "input_tokens": 10, "output_tokens": 2, "cost_nanousd": cost}
    return span(span_id, parent, **(usual | changes))


def test_a_parent_sums_its_counted_calls_once() -> None:
    twin = call("b", "a", None, is_counted=False, input_tokens=10)
    tree = tree_of([span("a"), twin, call("c", "b", 700), call("d", "a", 40, after_ms=5)])
    root = tree.nodes[0]
    assert (root.sum_nanousd, root.input_tokens, root.calls) == (740, 20, 2)
    assert [node.counted for node in tree.nodes] == ["", "counted below", "", ""]


def test_a_call_without_a_price_is_unknown_not_zero() -> None:
    tree = tree_of([span("a"), call("b", "a", None)])
    assert tree.nodes[0].sum_or_unknown is None
    assert tree.nodes[1].has_unknown_own


def test_a_refusal_costs_a_known_nothing() -> None:
    node = tree_of([call("b", None, None, status="refused", input_tokens=None)]).nodes[0]
    assert node.own_nanousd == 0


def test_children_of_a_parent_that_never_came_are_roots_and_say_so() -> None:
    tree = tree_of([span("b", "gone"), span("c", "b")])
    assert [(node.span.span_id, node.depth, node.is_orphan) for node in tree.nodes] == [("b", 0, True), ("c", 1, False)]


def test_spans_that_name_each_other_as_parents_are_all_shown() -> None:
    tree = tree_of([span("a", "b"), span("b", "a"), span("c", "c")])
    assert {node.span.span_id for node in tree.nodes} == {"a", "b", "c"}


def test_a_long_tree_folds_but_keeps_the_dearest_and_the_failed_in_sight() -> None:
    spans = [span("root"), span("deep", "root"), span("deeper", "deep")]
    spans += [call(f"n{i}", "deeper", 1, after_ms=i) for i in range(FOLD_ABOVE)]
    spans += [call("dear", "deeper", 10**9), call("bad", "deeper", None, status="failed", after_ms=9999)]
    tree = tree_of(spans)
    shown = {node.span.span_id for node in tree.shown}
    assert tree.is_folded
    assert {"root", "deeper", "dear", "bad"} <= shown
    assert len(shown) < 40
    deeper = next(node for node in tree.nodes if node.span.span_id == "deeper")
    assert deeper.folded == len(spans) - len(shown)
    assert len(tree_of(spans, unfolded="deeper").shown) == len(spans)


def test_a_very_deep_trace_needs_no_recursion() -> None:
    spans = [span("0")] + [span(str(i), str(i - 1), after_ms=i) for i in range(1, 3000)]
    assert tree_of(spans).nodes[-1].depth == 2999
