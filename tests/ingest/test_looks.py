"""Looks at texts in C: what they let go holds nothing, and they say what Python says."""

import functools
import json
import operator
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmobs.guards.anchors import _GROUPS, OF_INJECTIONS, SPREAD, may_reach
from llmobs.guards.injection import score
from llmobs.guards.normal_form import is_spread, single_blanks
from llmobs.guards.sensitive import may_hold
from llmobs.ingest import bounds, compiled, content, media, watch
from llmobs.ingest.otlp import remains
from llmobs.ingest.otlp.reading import Reading
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import TenantInfo
from tests.guards.harmless import HARMLESS
from tests.guards.test_injection import ATTACKS, LISTED
from tests.guards.test_sieve import THRESHOLDS, VALUES, texts
from tests.ingest.making import call

if compiled.loaded() is None:
    compiled.build()

TENANT = TenantInfo(1, "acme", "Acme", "none", "redacted", "UTC", 400, True)
ANCHORS = [anchor for group in _GROUPS for anchor in group if anchor.isascii()]
NEARLY = [
    "12", "345", "999999", "API_key", "Secret=", "private key", "xoX", "xOxB-", "xoxa", "xoxc-", "\\u", "\\/", "\\",
]  # fmt: skip
PIECES = [*ANCHORS, *"a \t.x\n-_*", "  ", "I g N o r e", "a b c d"]


def _seen(text: str) -> int:
    """Which groups have an anchor in an ASCII text, looked for one by one."""
    plain = single_blanks(text.lower())
    seen = sum(1 << number for number, group in enumerate(_GROUPS) if any(anchor in plain for anchor in group))
    return seen | (SPREAD if is_spread(plain) else 0)


def _of_module(text: str) -> int:
    module = compiled.loaded()
    return _seen(text) if module is None else int(module.anchors_in(OF_INJECTIONS, text))


def test_each_group_has_a_bit() -> None:
    assert len(_GROUPS) < 63


@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(ANCHORS).map(lambda a: a[:2]), max_size=9), st.booleans())
@settings(max_examples=500, deadline=None)
def test_anchors_are_found_as_if_looked_for_one_by_one(pieces: list[str], is_upper: bool) -> None:
    text = "".join(pieces)
    text = text.upper() if is_upper else text
    assert _of_module(text) == _seen(text)


@given(texts(), THRESHOLDS)
@settings(max_examples=500, deadline=None)
def test_what_has_too_few_anchors_stays_below_the_threshold(text: str, permille: int) -> None:
    plain = text.encode("ascii", "ignore").decode()
    if not may_reach(_of_module(plain), permille):
        assert round(1000 * score(plain).score) < permille


@pytest.mark.parametrize("text", [text for text in LISTED + ATTACKS if text.isascii()])
def test_no_known_attack_is_let_go(text: str) -> None:
    for shape in (text, text.upper(), text.replace(" ", "   "), "words " * 2000 + text):
        if score(shape).score >= 0.7:
            assert may_reach(_of_module(shape), 700)


def test_most_ordinary_texts_have_too_few_anchors() -> None:
    plain = [text for text in HARMLESS if text.isascii()]
    assert sum(may_reach(_of_module(text), 700) for text in plain) < len(plain) / 2


@given(
    st.lists(
        st.sampled_from([*VALUES, *NEARLY]) | st.text("0123456789 -/().+ABab@_é\ud800", max_size=20),
        max_size=6,
    )
)
@settings(max_examples=1000, deadline=None)
@example(["7xox1"])
@example(["a", "1.23-45/678"])
def test_a_text_looks_clean_where_no_pattern_may_stand(parts: list[str]) -> None:
    text = "".join(parts)
    module = compiled.loaded()
    is_certain = not may_hold(text) and "\\u" not in text and "\\/" not in text
    if module is not None:
        assert module.looks_clean(text) is (is_certain and "\ud800" not in text)
        assert module.values_look_clean({"text": text, "one": 1, "half": 0.5}) is module.looks_clean(text)
        assert not module.values_look_clean({"list": [text]})


def _ways() -> Iterator[bool]:
    """With the compiled module, and without."""
    for module in (compiled.loaded(), None):
        with pytest.MonkeyPatch.context() as patch:
            for user in (bounds, content, media, remains, watch):
                patch.setattr(user, "_compiled", module)
            yield module is not None


@given(
    st.lists(st.sampled_from(VALUES + HARMLESS + LISTED) | st.text(max_size=9), min_size=1, max_size=4),
    st.sampled_from([(", ", ": "), (",", ":")]),
)
@settings(max_examples=200, deadline=None)
def test_guards_policy_and_preview_come_to_the_same_without_it(parts: list[str], spaced: tuple[str, str]) -> None:
    texts = [{"role": "user", "parts": [{"type": "text", "content": said}]} for said in (*parts, " ".join(parts))]
    said = json.dumps(texts, separators=spaced)
    seen = watch.Watch({1: TENANT}, b"key")
    found = []
    for _ in _ways():
        span = call(input=said, output=said[:-1], attributes={"note": parts[0], "list": parts, "many": 3})
        clean = content.look(span)
        findings = seen.findings(span, clean)
        content.Door({1: content.REDACTED}, b"key").apply(span, clean)
        found.append((span.input, span.output, span.attributes, findings, content.preview(span)))
    assert found[0] == found[1]


SIGNS = ['"data"', '"bytes":', "iVBORw0KGgo" * 9, ";base64,", '"b64_json"', '"embedding":[1,2,3,4,5,6,7,8]', '"vector']


@given(
    st.lists(st.sampled_from(VALUES + HARMLESS + LISTED + SIGNS) | st.text(max_size=9), min_size=1, max_size=4),
    st.sampled_from(["user", "tool", "assistant", "system", "odd"]),
    st.sampled_from(["", "x" * 20_000, "cut"]),
)
@settings(max_examples=300, deadline=None)
def test_one_look_says_what_each_would(parts: list[str], role: str, more: str) -> None:
    texts = [{"role": role, "parts": [{"type": "text", "content": said}]} for said in (*parts, more)]
    given, answered = json.dumps(texts, ensure_ascii=False), "".join(parts)
    span = call(input=given[:-1] if more == "cut" else given, output=answered, attributes={"note": parts[0], "n": 3})
    clean, module = content.look(span), compiled.loaded()
    if module is None:
        assert clean == content.UNKNOWN
        return
    assert clean[:3] == (module.looks_clean(span.input), module.looks_clean(answered),
                         module.values_look_clean(span.attributes))  # fmt: skip
    if clean.is_without_media:
        before = (span.input, span.output, dict(span.attributes))
        media.refer(span)
        assert (span.input, span.output, span.attributes) == before
    asked = module.plain_texts(span.input or "") if (span.input or "").isascii() else None
    if asked is None or role == "tool":
        assert clean.anchors is None
    else:
        seen = [] if role in ("assistant", "system") else [module.anchors_in(OF_INJECTIONS, said) for _, said in asked]
        anchors = functools.reduce(operator.or_, seen, 0)
        assert clean.anchors == (None if anchors & SPREAD else anchors)  # for which there is no room


def test_a_look_needs_tables_and_attributes() -> None:
    module = compiled.loaded()
    if module is not None:
        for tables in ((b"", b"", b"", b"", b"", 0), (b"",)):
            with pytest.raises((ValueError, TypeError)):
                module.look("x", None, {}, tables, 64)
        with pytest.raises(TypeError):
            module.look(3, None, {}, OF_INJECTIONS, 64)


plain_words = st.text('ab "\\n\t', max_size=6) | st.sampled_from(["x" * 500, " " * 300, "a  b", " a", "é", "\x1c"])


@given(st.lists(plain_words, max_size=3), st.sampled_from([(", ", ": "), (",", ":")]), st.integers(0, 9))
@settings(max_examples=400, deadline=None)
def test_previews_are_alike(said: list[str], spaced: tuple[str, str], cut: int) -> None:
    texts = [{"role": "user", "parts": [{"type": "text", "content": text}]} for text in said]
    text = json.dumps(texts, separators=spaced, ensure_ascii=False)
    span = call(input=text[: len(text) - cut if cut < 3 else None], output="")
    shown = [content.preview(span) for _ in _ways()]
    assert shown[0] == shown[1]


@given(
    st.lists(st.text(max_size=4) | st.sampled_from(["x" * 99, "x" * 101, "é" * 400, "nul\0"]), min_size=9, max_size=9),
    st.lists(st.sampled_from(["stop", "é\0", "x" * 400]), max_size=40),
    st.sampled_from(["ok", "x" * 21]),
)
@settings(max_examples=200, deadline=None)
def test_bounds_are_kept_alike(texts: list[str], reasons: list[str], status: str) -> None:
    name, operation, error, message, model, scope, user, service, version = texts
    kept = []
    for _ in _ways():
        span = call(
            name=name, operation_name=operation, error_type=error, status_message=message, response_model=model,
            scope_name=scope, scope_version=version, status=status, finish_reasons=tuple(reasons),
            attribution=Attribution(service, "e", "f", user, "s", 7),
        )  # fmt: skip
        bounds.keep_bounds(span)
        kept.append((span, span.finish_reasons))
    kept[0][0].trace_id, kept[0][0].span_id = kept[1][0].trace_id, kept[1][0].span_id
    assert kept[0] == kept[1]


ODD_VALUES = [
    "x" * 70, "data:image/png;base64," + "iVBORw0KGgo" * 9, "é;base64," + "A" * 80, "\0" + "x" * 70 + ";base64,AAAA",
    "x" * 5000, 2**63, -(2**63), 2**64, float("nan"), float("inf"), 0.5, True, None, ["a"], {"data": "QUJD" * 30}, "\0",
]  # fmt: skip


@given(st.lists(st.sampled_from(ODD_VALUES), max_size=4))
@settings(max_examples=200, deadline=None)
def test_attributes_are_kept_alike(values: list[Any]) -> None:
    kept = []
    for _ in _ways():
        span = call(attributes={f"a{number}": value for number, value in enumerate(values)})
        media.refer(span)
        if not remains.is_tidy(span.attributes):
            remains.tidy(span.attributes, (), Reading(), 0)
        kept.append(repr(span.attributes))
    assert sorted(kept[0]) == sorted(kept[1])


def test_a_build_of_another_form_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "FORM", compiled.FORM + 1)
    assert compiled.loaded() is None
