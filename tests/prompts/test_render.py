"""Templates and their rendering: `{{name}}` and nothing else, each value put in once."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmobs.prompts.render import render
from llmobs.prompts.template import TemplateError, check, fill
from tests.prompts.made import version

VALUES = st.text(st.sampled_from(list('{} ab"\\\n')), max_size=30) | st.text(max_size=30)


@given(a=VALUES, b=VALUES)
def test_a_value_is_text_and_never_expanded_again(a: str, b: str) -> None:
    """S0-51: what a value holds, placeholders included, stands in the text as it is."""
    assert fill("[{{a}}|{{ b }}|{{a}}]", {"a": a, "b": b, "c": "secret"}) == f"[{a}|{b}|{a}]"


def test_a_value_cannot_reach_another_variable() -> None:
    """S0-51: a placeholder within a value, or put together by two of them, is text."""
    values = {"a": "{{secret}}", "open": "{{", "name": "secret}}", "secret": "hunter2"}
    assert fill("{{a}} {{open}}{{name}}", values) == "{{secret}} {{secret}}"


@given(value=st.text(max_size=50))
def test_what_is_rendered_stands_in_json_as_text(value: str) -> None:
    rendered = render(version(1, "say {{v}}"), {"v": value})
    (text,) = msgspec.json.decode(msgspec.json.encode(rendered.system))
    assert text == f"say {value}"


def test_a_variable_without_value_or_default_is_named() -> None:
    """S0-51: nothing is rendered as an empty text by mistake."""
    with pytest.raises(TemplateError, match="'name' has no value"):
        render(version(1, "Answer {{name}}."), {"nom": "Ada", "name": None})


def test_a_default_stands_in_and_a_given_value_goes_before_it() -> None:
    tone = version(1, "Be {{tone}}.", "{{question}}", defaults={"tone": "kind"})
    assert render(tone, {"question": "why?"}).system == ("Be kind.",)
    assert render(tone, {"question": "why?", "tone": "curt"}).system == ("Be curt.",)
    assert render(tone, {"question": "why?"}).turns == (("user", "why?"),)


@pytest.mark.parametrize(
    ("given_variables", "text"),
    [
        ({"v": "text"}, "text"),
        ({"v": 3}, "3"),
        ({"v": True}, "true"),
        ({"v": ["a", 1]}, '["a",1]'),
        ('{"v": "from a text"}', "from a text"),
        ({"v": "x", "unknown": "left aside"}, "x"),
    ],
)
def test_values_are_texts_or_their_json(given_variables: object, text: str) -> None:
    assert render(version(1, "{{v}}"), given_variables).system == (text,)


@pytest.mark.parametrize("given_variables", [["v"], 3, "no json", '["v"]'])
def test_variables_are_an_object(given_variables: object) -> None:
    with pytest.raises(TemplateError, match=r"metadata\.variables"):
        render(version(1, "{{v}}"), given_variables)


@pytest.mark.parametrize("wrong", ["{{#if x}}", "{{ a b }}", "{{}}", "{{a", "{{ü}}", "{{a.b}}", "{{1a}}"])
def test_what_looks_like_a_variable_and_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(TemplateError, match="is no variable"):
        check(f"text {wrong}")


def test_braces_that_are_no_variables_stay() -> None:
    assert check('{"a": {"b": 1}} {x} }} {{v}}') == ["v"]
    assert fill('{"a": {"b": 1}} }} {{v}}', {"v": "1"}) == '{"a": {"b": 1}} }} 1'


def test_a_rendered_prompt_has_a_bound() -> None:
    """A few bytes that ask for a long value often must not fill the gateway's memory."""
    with pytest.raises(TemplateError, match="longer than"):
        fill("{{v}}" * 10, {"v": "x" * 100}, most_characters=500)
