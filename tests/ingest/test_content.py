"""The one door: each policy leaves of a span what it says, in messages, attributes, error texts and preview."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.guards.redactor import Redactor
from llmobs.ingest import content
from llmobs.ingest.content import Door, preview
from llmobs.spans.record import Span
from tests.guards.test_sieve import VALUES
from tests.ingest.making import call

SECRET = "bob@example.com"
LONG = "the customer said " * 20


def span() -> Span:
    return call(
        input=json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"I am {SECRET}\nok"}]}]),
        output=json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": f"Hello {SECRET}"}]}]),
        status_message=f"no answer for {SECRET}",
        attributes={
            "input.value": f"I am {SECRET}",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.tool.call.arguments": {"to": SECRET},
            "app.region": "eu-1",
            "app.note": LONG,
        },
    )


def kept(policy: str, tenant_id: int = 1) -> Span:
    made = span()
    Door({1: policy}, b"key").apply(made)
    return made


def whole(made: Span) -> str:
    return json.dumps([made.input, made.output, made.status_message, made.attributes, preview(made)])


def test_full_keeps_all() -> None:
    assert whole(kept("full")) == whole(span())


@pytest.mark.parametrize("policy", ["redacted", "hash", "none", "nonsense"])
def test_no_other_policy_lets_the_address_through(policy: str) -> None:
    assert SECRET not in whole(kept(policy))


def test_an_unknown_tenant_keeps_nothing() -> None:
    made = span()
    Door({}, b"key").apply(made)
    assert made.input is None


def test_redaction_keeps_the_words_around_and_the_json_whole() -> None:
    made = kept("redacted")
    assert json.loads(made.input or "")[0]["parts"][0]["content"] == "I am [EMAIL_1]\nok"
    assert json.loads(made.output or "")[0]["parts"][0]["content"] == "Hello [EMAIL_1]"
    assert made.attributes["app.note"] == LONG
    assert made.status_message == "no answer for [EMAIL_1]"


def test_redaction_sees_through_escapes() -> None:
    made = call(input='[{"role":"user","parts":[{"type":"text","content":"bob\\u0040example.com\\nalice@x.org"}]}]')
    Door({1: "redacted"}, b"key").apply(made)
    assert json.loads(made.input or "")[0]["parts"][0]["content"] == "[EMAIL_1]\n[EMAIL_2]"


def redacted(text: str) -> str:
    made = call(input=text, output=None)
    Door({1: "redacted"}, b"key").apply(made, content.look(made))
    return made.input or ""


def message(said: str) -> str:
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": said}]}], separators=(",", ":"))


def escaped(text: str, letters: str) -> str:
    """JSON with these letters written as an encoder may, besides those that must be."""
    for letter in letters:
        text = text.replace(letter, "\\/" if letter == "/" else f"\\u{ord(letter):04x}")
    return text


@given(st.sampled_from(VALUES), st.text('\n\t "(/é', max_size=2), st.sampled_from(["", "/", "/@", "-= ", "\ud800"]))
@settings(max_examples=300, deadline=None)
def test_however_it_is_escaped_nothing_gets_past_redaction(value: str, before: str, letters: str) -> None:
    said = f"it is:{before}{value} {letters if letters > 'z' else ''}."
    shown = json.loads(redacted(escaped(message(said), letters)))[0]["parts"][0]["content"]
    assert shown == Redactor().redact(said)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("before", ["\n", "\t", " "])
@pytest.mark.parametrize("letters", ["", "/", "@", "-="])
def test_json_that_was_cut_off_is_redacted_too(value: str, before: str, letters: str) -> None:
    """Exporters cut attributes by their length; tools' arguments are JSON within JSON."""
    said = escaped(message(f"it is:{before}{value} and so on"), letters)[:-12]
    for text in (said, message(said)):
        shown = redacted(text)
        assert "_1]" in shown
        assert json.dumps(value)[1:-1].replace("\\", "") not in shown.replace("\\", "")


def test_what_escapes_hide_nothing_stays_as_it_was_written() -> None:
    said = '{"path": "C:\\new\\/x\\u0041"}'
    assert json.loads(redacted(message(said)))[0]["parts"][0]["content"] == said


def test_numbers_within_messages_are_somebodys_too() -> None:
    called = {"type": "tool_call", "arguments": {"card": 4111111111111111, "count": 3}}
    (shown,) = json.loads(redacted(json.dumps([{"role": "assistant", "parts": [called]}])))[0]["parts"]
    assert shown["arguments"] == {"card": "[CARD_1]", "count": 3}


def test_hash_finds_equal_texts_of_a_tenant_and_no_other() -> None:
    one, same = kept("hash"), kept("hash")
    assert one.input == same.input
    content = json.loads(one.input or "")[0]
    assert content["role"] == "user"
    assert content["parts"][0]["content"].startswith("hmac-sha256:")
    other = span()
    other.tenant_id = 2
    Door({2: "hash"}, b"key").apply(other)
    assert other.input != one.input


@pytest.mark.parametrize("policy", ["hash", "none"])
def test_labels_and_numbers_stay(policy: str) -> None:
    made = kept(policy)
    assert made.attributes["app.region"] == "eu-1"
    assert made.attributes["gen_ai.request.temperature"] == 0.5
    assert made.attributes.get("app.note") != LONG


def test_none_has_no_preview() -> None:
    assert preview(kept("none")) == ""


def test_the_preview_is_the_last_question_cut_short() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
        {"role": "user", "parts": [{"type": "text", "content": "why\n\n is the sky " + "very " * 100}]},
    ]
    found = preview(call(input=json.dumps(messages)))
    assert found.startswith("why is the sky very")
    assert len(found) == 200


@given(st.lists(st.lists(st.text(max_size=8) | st.sampled_from(['"', "\\", '"}]}]', " "]), max_size=2), max_size=3))
@settings(max_examples=200, deadline=None)
def test_the_last_text_is_the_same_read_in_haste(messages: list[list[str]]) -> None:
    plain = [{"role": "user", "parts": [{"type": "text", "content": text} for text in texts]} for texts in messages]
    for spaced in (json.dumps(plain), msgspec.json.encode(plain).decode()):
        assert content._last_plain_text(spaced) in ("", _last_text(plain))


def _last_text(messages: list[dict[str, Any]]) -> str:
    """The first text of the last message that has any."""
    texts = ([part["content"] for part in message["parts"]] for message in reversed(messages))
    return next((text for each in texts for text in each if text.strip()), "")


@given(st.text(st.sampled_from("ab \n\t\x1c\x1f\x7f\u00a0\u2003é"), max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_preview_is_one_line_of_single_blanks(text: str) -> None:
    assert content._in_one_line(text) == " ".join(text.split())
