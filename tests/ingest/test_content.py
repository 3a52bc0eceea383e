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
from tests.ingest.otlp import captured

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
            "cloud.region": "eu-1",
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


SAID = "owls read"
# What libraries call what was said, and names that nobody knows: short texts are content too.
UNKNOWN_NAMES = (
    "ai.response.reasoning", "ai.response.files", "gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_response", "tool_response", "llm.function_call", "tool.parameters", "logfire.msg",
    "langfuse.observation.metadata.note", "langfuse.trace.metadata.note", "mlflow.trace.request",
    "gen_ai.evaluation.explanation", "crewai.task.goal", "db.statement", "chat_history", "summary", "note", "app.note",
    "llmobs.refusal.note", "gen_ai.tool.definitions", "exception.stacktrace", SAID,
)  # fmt: skip


@pytest.mark.parametrize("policy", ["hash", "none", "nonsense"])
@pytest.mark.parametrize("value", [SAID, [SAID, 3], {"note": SAID}, {SAID: 3}, [{"id": SAID}]], ids=str)
def test_a_short_text_of_any_other_name_is_content(policy: str, value: Any) -> None:
    made = call(attributes=dict.fromkeys(UNKNOWN_NAMES, value) | {"events": [{"name": SAID, "note": value}]})
    Door({1: policy}, b"key").apply(made)
    assert SAID not in json.dumps(made.attributes)


@pytest.mark.parametrize("policy", ["hash", "none"])
def test_labels_and_numbers_stay(policy: str) -> None:
    labels = {
        "cloud.region": "eu-1", "gen_ai.request.temperature": 0.5, "app.count": 3, "app.is_new": True,
        "gen_ai.tool.name": "get_weather", "gen_ai.request.encoding_formats": ["float"], "session.id": "s-1",
        "llmobs.units": {"audio_input": 5}, "llmobs.tier": "batch",
        "llmobs.trace_id": "0af7651916cd43dd8448eb211c80319c", "gen_ai": {"agent": {"id": "a-1"}},
        "events": [{"exception.type": "ValueError", "name": "exception", "offset_ns": 5}],
    }  # fmt: skip
    made = call(attributes=dict(labels))
    Door({1: policy}, b"key").apply(made)
    assert made.attributes == labels


@pytest.mark.parametrize("policy", ["hash", "none"])
@pytest.mark.parametrize("value", [f"for {SECRET}", "long " * 40])
def test_a_label_that_names_somebody_or_is_long_is_none(policy: str, value: str) -> None:
    made = call(attributes={"gen_ai.agent.name": value, SECRET: 3})
    Door({1: policy}, b"key").apply(made)
    assert value not in made.attributes.values()
    assert SECRET not in json.dumps(made.attributes)


def test_a_fingerprint_stands_for_each_text() -> None:
    made = call(attributes={"note": SAID, "notes": [SAID, 3]})
    Door({1: "hash"}, b"key").apply(made)
    assert made.attributes["note"].startswith("hmac-sha256:")
    assert made.attributes["notes"] == [made.attributes["note"], 3]


def test_under_hash_no_role_key_or_number_says_anything() -> None:
    said = [{"role": SAID, "parts": [{"type": SAID, "arguments": {SAID: 4111111111111111, "count": 3}}]}]
    made = call(input=json.dumps(said))
    Door({1: "hash"}, b"key").apply(made)
    assert SAID not in (made.input or "")
    assert "4111111111111111" not in (made.input or "")
    assert '"count":3' in (made.input or "")


@pytest.mark.parametrize("policy", ["hash", "none"])
@pytest.mark.parametrize(
    ("name", "operation", "left"),
    [
        ("chat gpt-4o-mini", "chat", "chat gpt-4o-mini"),
        ("ChatOpenAI", "chat", "ChatOpenAI"),
        ("ai.generateText.doGenerate", "chat", "ai.generateText.doGenerate"),
        ("GET /users/{id}", "", "GET /users/{id}"),
        ("", "chat", ""),
        (f"chat with {SECRET}", "chat", "chat"),
        (f"chat {SECRET}", "chat", "chat"),
        (SECRET, "", "span"),
        (SAID, "execute_tool", "execute_tool"),
        (SAID, "owls read mail", "span"),
        ("chat owls read", "chat", "chat"),
        ("\u8bf7\u7ed9\u6211\u5199", "chat", "chat"),
    ],
)
def test_a_name_of_an_unusual_form_is_the_operation(policy: str, name: str, operation: str, left: str) -> None:
    made = call(name=name, operation_name=operation)
    Door({1: policy}, b"key").apply(made)
    assert made.name == left
    assert made.operation_name in (operation, "")


@pytest.mark.parametrize("policy", ["hash", "none"])
def test_an_error_and_a_reason_are_words(policy: str) -> None:
    made = call(error_type=SAID, finish_reasons=("stop", SAID), status="failed")
    Door({1: policy}, b"key").apply(made)
    assert (made.error_type, made.finish_reasons) == ("error", ("stop",))


def test_redaction_of_a_name_goes_with_that_of_the_texts() -> None:
    made = call(name=f"mail {SECRET}", operation_name=f"to {SECRET}", error_type=f"no {SECRET}", input=message(SECRET))
    Door({1: "redacted"}, b"key").apply(made, content.look(made))
    assert (made.name, made.operation_name, made.error_type) == ("mail [EMAIL_1]", "to [EMAIL_1]", "no [EMAIL_1]")
    assert "[EMAIL_1]" in (made.input or "")


@pytest.mark.parametrize("policy", ["redacted", "hash", "none"])
def test_what_libraries_call_spans_and_errors_stays(policy: str) -> None:
    for made in (span for case in captured.CASES for span in captured.spans(case)):
        before = made.name, made.operation_name, made.error_type, made.finish_reasons
        Door({1: policy}, b"key").apply(made, content.look(made))
        assert (made.name, made.operation_name, made.error_type, made.finish_reasons) == before


@pytest.mark.parametrize("count", [0, 40])
def test_no_name_of_an_attribute_tells_of_somebody(count: int) -> None:
    made = call(attributes={f"of {SECRET}": 3, **{f"n{number}": number for number in range(count)}})
    Door({1: "redacted"}, b"key").apply(made, content.look(made))
    assert next(iter(made.attributes)) == "of [EMAIL_1]"
    assert len(made.attributes) == count + 1


def test_names_that_redaction_makes_alike_keep_each_its_value() -> None:
    made = call(attributes={"seen by ann@example.com": 1, "seen by bob@example.com": 2, "seen": 3})
    Door({1: "redacted"}, b"key").apply(made)
    assert "example.com" not in json.dumps(made.attributes)
    assert sorted(made.attributes.values()) == [1, 2, 3]


def test_a_refusal_is_told_in_our_own_words() -> None:
    made = call(status="refused", status_message="The budget is spent.", attributes={"llmobs.refusal.budget": "month"})
    Door({1: "none"}, b"key").apply(made)
    assert made.status_message == "The budget is spent."
    assert made.attributes == {"llmobs.refusal.budget": "month"}


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
