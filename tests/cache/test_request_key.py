"""What makes two requests the same: any change of what can change the answer, and nothing else, changes the key."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.cache.request_key import UNTOLD, digest

CHAT: dict[str, Any] = {
    "model": "smart",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
    "temperature": 0.2,
    "max_tokens": 64,
}


def key(body: dict[str, Any] | bytes, **other: Any) -> str | None:
    given = {
        "operation": "chat",
        "asked": "smart",
        "candidates": ["openai/gpt-4o"],
        "prompt_version": "",
        "beside": [],
    }
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return digest(text, **{**given, **other})


def test_it_is_a_sha_256_in_hexadecimal() -> None:
    """S0-13, S2-09: the key is SHA-256 over canonical JSON."""
    found = key(CHAT)
    assert found is not None
    assert (len(found), set(found) <= set("0123456789abcdef")) == (64, True)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [*CHAT["messages"][:1], {"role": "user", "content": "What is 2 + 3?"}]},
        {"messages": CHAT["messages"][1:]},
        {"messages": CHAT["messages"][::-1]},
        {"temperature": 0.3},
        {"top_p": 0.9},
        {"max_tokens": 65},
        {"max_completion_tokens": 64},
        {"n": 2},
        {"seed": 7},
        {"stop": ["."]},
        {"presence_penalty": 0.1},
        {"frequency_penalty": 0.1},
        {"logit_bias": {"50256": -100}},
        {"logprobs": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "required"},
        {"parallel_tool_calls": False},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
        {"a_parameter_of_tomorrow": 1},
    ],
)
def test_what_can_change_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    """S0-13, S2-09, S3-22, S4-10, trap: max_tokens, temperature and tools are in the key."""
    assert key({**CHAT, **change}) != key(CHAT)


@pytest.mark.parametrize(
    "other",
    [
        {"operation": "messages"},
        {"asked": "cheap"},
        {"candidates": ["openai/gpt-4o-2024-11-20"]},
        {"candidates": ["openai/gpt-4o", "anthropic/claude-haiku-4-5"]},
        {"prompt_version": "greet@3"},
        {"beside": [b"interleaved-thinking"]},
    ],
)
def test_who_answers_and_by_which_prompt_changes_the_key(other: dict[str, Any]) -> None:
    """S4-13, S4-11: bound to the model's and the prompt's version."""
    assert key(CHAT, **other) != key(CHAT)


@pytest.mark.parametrize(
    "added",
    [
        {"stream": True, "stream_options": {"include_usage": True}},
        {"user": "u1"},
        {"metadata": {"feature": "faq"}},
        {"safety_identifier": "s"},
        {"prompt_cache_key": "k"},
        {"store": False},
    ],
)
def test_how_it_is_sent_and_who_asks_does_not(added: dict[str, Any]) -> None:
    assert key({**CHAT, **added}) == key(CHAT)


def test_order_blanks_and_escapes_of_the_body_do_not() -> None:
    shuffled = json.dumps(dict(reversed(CHAT.items())), indent=3).encode().replace(b"What", b"\\u0057hat")
    assert key(shuffled) == key(CHAT)


def test_the_candidates_order_does_not() -> None:
    assert key(CHAT, candidates=["a/x", "b/y"]) == key(CHAT, candidates=["b/y", "a/x"])


@pytest.mark.parametrize(
    "leaning",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"store": True},
        {"prompt": {"id": "pmpt_1"}},
        {"container": "container_1"},
        {"audio": {"voice": "alloy", "format": "wav"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
def test_what_leans_on_the_providers_memory_is_never_cached(leaning: dict[str, Any]) -> None:
    assert key({**CHAT, **leaning}) is None


def test_token_counts_and_what_is_no_json_are_not_cached() -> None:
    assert key(CHAT, operation="count_tokens") is None
    assert key(b'{"model": "smart", "seed": 1e999}') is None


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
_names = st.text(min_size=1).filter(lambda name: name not in UNTOLD | {"model", "input"} and not _leans(name))
_bodies = st.dictionaries(_names, _values, max_size=5)


def _leans(name: str) -> bool:
    return name in ("previous_response_id", "conversation", "container", "background", "prompt", "audio")


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reordered(inner) for name, inner in reversed(value.items())}
    return [_reordered(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=150, deadline=None)
@given(_bodies, st.booleans())
def test_the_same_request_written_otherwise_has_the_same_key(body: dict[str, Any], is_ascii: bool) -> None:
    one = json.dumps(body, ensure_ascii=True).encode()
    other = json.dumps(_reordered(body), ensure_ascii=is_ascii, indent=1, separators=(" ,", "  : "))
    assert key(one) == key(other.encode("utf-8", "surrogatepass")) or not _is_text(body)


@settings(max_examples=150, deadline=None)
@given(_bodies, _names, _values)
def test_any_other_value_of_any_field_has_another_key(body: dict[str, Any], name: str, value: Any) -> None:
    changed = {**body, name: value}
    is_same = name in body and json.dumps(body[name], sort_keys=True) == json.dumps(value, sort_keys=True)
    one, other = key(body), key(changed)
    assert is_same or one is None or other is None or one != other


def _is_text(value: Any) -> bool:
    """No lone surrogates: those are no Unicode text, and such a body is not cached."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
