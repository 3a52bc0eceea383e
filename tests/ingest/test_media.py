"""Images and sound are kept by what they are, not by their bytes; embedding vectors by their dimension.

PAINS 48: base64 in prompts makes pages and stores slow; 45: what may not be stored is stored nowhere.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, cast

import pytest

from llmobs.core.env import Secrets
from llmobs.ingest import compiled, content, media
from llmobs.ingest.content import look
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.media import LONG_TEXT, has_more, refer, referred, referred_body, referred_json, referred_text
from llmobs.ingest.messages import request_messages, response_messages
from llmobs.ingest.otlp import alike, remains, wire
from llmobs.ingest.otlp.messages import MOST_CHARACTERS, official
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Config, Translator
from llmobs.pricing.book import PriceBook
from llmobs.spans.record import Span
from llmobs.tenants.roster import Roster, TenantInfo
from tests.ingest.making import call
from tests.ingest.otlp.sent import NOW_NS, pairs, read
from tests.ingest.otlp.test_alike import body
from tests.ingest.otlp.test_usual import USUAL

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3
SOUND = b"RIFF\x00\x00\x00\x00WAVE" + bytes(200)


def encoded(body: bytes) -> str:
    return b64encode(body).decode()


def reference(body: bytes, media_type: str) -> str:
    return f"media:{media_type};bytes={len(body)};sha256={sha256(body).hexdigest()}"


FORMS: list[tuple[str, Any, str]] = [
    ("OpenAI image", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(PNG)}"}}, "image/png"),
    ("OpenAI responses", {"type": "input_image", "image_url": f"data:image/png;base64,{encoded(PNG)}"}, "image/png"),
    ("OpenAI file", {"file": {"file_data": f"data:application/pdf;base64,{encoded(PNG)}"}}, "application/pdf"),
    ("OpenAI images", {"data": [{"b64_json": encoded(PNG)}]}, "image/png"),
    (
        "Anthropic",
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": encoded(PNG)}},
        "image/webp",
    ),
    ("gen_ai", {"type": "blob", "mime_type": "image/gif", "modality": "image", "content": encoded(PNG)}, "image/gif"),
    ("Gemini", {"inline_data": {"mime_type": "image/jpeg", "data": encoded(PNG)}}, "image/jpeg"),
    ("Bedrock", {"image": {"format": "png", "source": {"bytes": encoded(PNG)}}}, "image/png"),
    ("Vercel", {"type": "file", "mediaType": "image/png", "data": urlsafe_b64encode(PNG).decode()}, "image/png"),
]


@pytest.mark.parametrize(("form", "part", "media_type"), FORMS, ids=[form for form, _, _ in FORMS])
def test_an_image_is_its_reference_in_every_providers_form(form: str, part: Any, media_type: str) -> None:
    found = referred_json(json.dumps([{"role": "user", "parts": [part]}]))
    assert reference(PNG, media_type) in found
    assert encoded(PNG)[:40] not in found


def test_a_sound_says_its_format() -> None:
    part = {"type": "input_audio", "input_audio": {"data": encoded(SOUND), "format": "wav"}}
    assert referred(part)["input_audio"]["data"] == reference(SOUND, "audio/wav")


def test_words_stay_words() -> None:
    for text in ('{"data": "plain"}', '{"data": {"content": "' + "a" * 80 + ' b"}}', "data: is what we need", "é" * 90):
        assert referred_json(text) == text
    assert referred_json('{"type":"text","content":"' + "a" * 100 + '"}').count("a") == 100


def test_a_data_url_within_a_text_is_found() -> None:
    assert referred_text(f"see ![x](data:image/png;base64,{encoded(PNG)}) there") == (
        f"see ![x]({reference(PNG, 'image/png')}) there"
    )


def test_base64_without_a_word_about_it_is_found_in_long_texts() -> None:
    long = "word " * (LONG_TEXT // 5) + encoded(PNG)
    assert referred_text(long).endswith(reference(PNG, "image/png"))


def test_a_body_that_was_cut_says_from_which_size_on() -> None:
    cut = '{"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,' + encoded(PNG)[:401]
    assert "media:image/png;bytes>=300" in referred_body(cut)


def test_vectors_are_their_dimension() -> None:
    answer = {"data": [{"embedding": [0.25] * 1536, "index": 0}, {"embedding": encoded(bytes(4 * 256)), "index": 1}]}
    found = response_messages(json.dumps(answer).encode()) or ""
    assert found.count("dimension") == 2
    assert "1536" in found
    assert "256" in found
    assert "0.25" not in found


def test_vectors_of_a_body_that_was_cut_are_too() -> None:
    cut = json.dumps({"data": [{"embedding": [0.25] * 600}, {"embedding": [-1.5e-05] * 600}]})[:-2000]
    found = response_messages(cut.encode()) or ""
    assert found.count("dimension") == 2
    assert "0.25" not in found


def test_a_recorded_request_has_no_bytes_of_its_image() -> None:
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(PNG)}"}}]
    span = call(input=request_messages(json.dumps({"messages": [{"role": "user", "content": content}]}).encode()))
    refer(span)
    assert reference(PNG, "image/png") in (span.input or "")


def test_an_image_larger_than_what_is_kept_has_its_whole_size() -> None:
    """Texts are cut at 20,000 characters where a message is too long: never before a media's size is known."""
    large = PNG * 2000
    message = [{"role": "user", "parts": [{"type": "uri", "uri": f"data:image/png;base64,{encoded(large)}"}]}]
    assert len(json.dumps(message)) > MOST_CHARACTERS
    assert reference(large, "image/png") in (official(json.dumps(message), None, "user") or "")


def test_attributes_are_looked_at_too() -> None:
    span = call(attributes={"app.image": f"data:image/png;base64,{encoded(PNG)}", "app.name": "x"})
    refer(span)
    assert span.attributes == {"app.image": reference(PNG, "image/png"), "app.name": "x"}


def test_a_small_image_in_an_attribute_is_referred_too() -> None:
    small = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
    sent = f"data:image/png;base64,{encoded(small)}"
    assert len(sent) < 100
    span = call(attributes={"app.icon": sent})
    refer(span)
    assert span.attributes == {"app.icon": reference(small, "image/png")}


def test_reported_vectors_are_counted() -> None:
    found = read(
        {
            "openinference.span.kind": "EMBEDDING",
            "embedding.embeddings.0.embedding.vector": [0.5] * 9,
            "embedding.embeddings.1.embedding.vector": [0.5] * 9,
        }
    )
    assert (found.attributes["gen_ai.embeddings.dimension.count"], found.attributes["llmobs.embeddings.count"]) == (
        9,
        2,
    )
    vercel = read({"ai.operationId": "ai.embed.doEmbed", "ai.embeddings": ["[0.1,0.2,0.3]"]})
    assert vercel.attributes["gen_ai.embeddings.dimension.count"] == 3


def test_nothing_is_changed_twice() -> None:
    once = referred_json(json.dumps([part for _, part, _ in FORMS]))
    assert referred_json(once) == once


# ---------------------------------------------------------------- vectors, wherever they stand

VECTOR = [0.125, -0.5, 1e-05, 0.0625, 0, 0.75, -1.5, 2.25, 0.375] * 8
TEXT = json.dumps(VECTOR)
KEPT = {"dimension": 72}


def stored(attributes: dict[str, Any], scope: str = "", **fields: Any) -> Span:
    """A span as it is stored: decoded, and past the look and the references of all content."""
    found = read(attributes, scope=scope, **fields)
    if not look(found).is_without_media or has_more(found):
        refer(found)
    return found


def assert_without_vectors(span: Span) -> None:
    for kept in (span.input or "", span.output or "", json.dumps(span.attributes)):
        assert "0.0625" not in kept


VECTOR_ATTRIBUTES: list[tuple[str, Any, Any]] = [
    ("chromadb", TEXT, '{"dimension":72}'),
    ("several as a text", json.dumps([VECTOR, VECTOR]), '[{"dimension":72},{"dimension":72}]'),
    ("pinecone", VECTOR, KEPT),
    ("several", [VECTOR, VECTOR], [KEPT, KEPT]),
    ("within a text", json.dumps({"name": "a", "found": {"v": VECTOR}}), '{"name":"a","found":{"v":{"dimension":72}}}'),
    ("within JSON within JSON", json.dumps({"a": json.dumps([VECTOR], indent=1)}), '{"a":"[{\\"dimension\\":72}]"}'),
    ("behind words", f"found {TEXT} there", 'found {"dimension":72} there'),
    ("cut off", TEXT[:-9], '{"dimension":71}'),
    ("long", json.dumps([0.0625] * 1536), '{"dimension":1536}'),
]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(sent, kept) for _, sent, kept in VECTOR_ATTRIBUTES],
    ids=[form for form, _, _ in VECTOR_ATTRIBUTES],
)
@pytest.mark.parametrize("name", ["db.query.embeddings.vector", "db.query.result.vector", "my.vector"])
def test_an_attributes_vector_is_its_dimension(name: str, sent: Any, kept: Any) -> None:
    assert stored({name: sent}).attributes[name] == kept


VECTOR_CONTENTS: list[tuple[str, dict[str, Any]]] = [
    ("langfuse", {"langfuse.observation.type": "embedding", "langfuse.observation.output": TEXT}),
    ("a step's output", {"openinference.span.kind": "CHAIN", "output.value": TEXT}),
    ("a traceloop entity", {"traceloop.span.kind": "task", "traceloop.entity.output": TEXT}),
    (
        "a document's metadata",
        {
            "openinference.span.kind": "RETRIEVER",
            "retrieval.documents.0.document.content": "words",
            "retrieval.documents.0.document.metadata": json.dumps({"source": "a", "v": VECTOR}),
        },
    ),
    (
        "a tool's result",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.output.messages": json.dumps(
                [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": {"v": VECTOR}}]}]
            ),
        },
    ),
    (
        "a tool's result as a text",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.output.messages": json.dumps(
                [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": TEXT}]}]
            ),
        },
    ),
]


@pytest.mark.parametrize("sent", [sent for _, sent in VECTOR_CONTENTS], ids=[form for form, _ in VECTOR_CONTENTS])
def test_a_contents_vector_is_its_dimension(sent: dict[str, Any]) -> None:
    found = stored(sent)
    assert_without_vectors(found)
    assert "dimension" in (found.output or "")
    assert "72}" in (found.output or "")


@pytest.mark.parametrize("is_compiled", [True, False])
def test_of_spans_that_are_like_others_none_keeps_its_vectors(
    monkeypatch: pytest.MonkeyPatch, is_compiled: bool
) -> None:
    """From protobuf, where the compiled reader makes a usual span of the one before, and its look finds no media."""
    for module in (alike, wire, remains, content, media):
        monkeypatch.setattr(module, "_compiled", compiled.loaded() if is_compiled else None)
    answer = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": TEXT}]}])
    sent = body(*[{**USUAL, "gen_ai.output.messages": answer, "my.vector": TEXT} for _ in range(3)])
    tenant = TenantInfo(1, "acme", "Acme", "none", "full", "UTC", 400, True)
    secrets = Secrets("secret", (), b"k" * 32, "", "", "")
    translator = Translator(Config.of(1, Roster([tenant], []), PriceBook(), cast("Any", None), secrets))
    for _ in range(2):
        spans = translator.piece(Found("gateway-1", 0, OtlpBody(1, 7, NOW_NS, wire.PROTOBUF, sent)), NOW_NS).spans
        assert [span.attributes["my.vector"] for span in spans] == ['{"dimension":72}'] * 3
        for span in spans:
            assert_without_vectors(span)


def test_an_events_vector_is_its_dimension() -> None:
    sent = {"db.query.result.vector": VECTOR, "db.query.result.id": "a"}
    event = {"name": "db.query.result", "timeUnixNano": str(NOW_NS), "attributes": pairs(sent)}
    found = stored({}, events=[event])
    (kept,) = found.attributes["events"]
    assert kept["db.query.result.vector"] == KEPT


def test_other_lists_stay_as_they_are() -> None:
    for kept in ([*range(90)], [0.5] * 63, [0.5] * 64 + ["a"], [True] * 64, [*range(64), 0.5]):
        text = json.dumps({"list": kept})
        assert referred(kept) == kept
        assert referred_json(text) == text
    prices = "They cost 1.50, 2.50, 3.50 and 4.50 on 1.1.2026, 2.1.2026."
    assert referred_text(prices) == prices


def test_a_nest_too_deep_to_read_is_kept() -> None:
    deep = "[" * 900 + TEXT + "]" * 900
    assert "0.0625" not in referred_json(deep)


# ---------------------------------------------------------------- base64 without a word about it

ALONE: list[tuple[bytes, str]] = [
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0" + PNG, "image/jpeg"),
    (b"GIF89a" + PNG, "image/gif"),
    (b"RIFF\x00\x00\x00\x00WEBP" + PNG, "image/webp"),
    (b"RIFF\x00\x00\x00\x00WAVE" + PNG, "audio/wav"),
    (b"ID3\x04" + PNG, "audio/mpeg"),
    (b"\xff\xfb\x90\x64" + PNG, "audio/mpeg"),
    (b"\xff\xf3\x90\x64" + PNG, "audio/mpeg"),
    (b"OggS\x00" + PNG, "audio/ogg"),
    (b"fLaC\x00" + PNG, "audio/flac"),
    (b"%PDF-1.7" + PNG, "application/pdf"),
]


@pytest.mark.parametrize(("body", "media_type"), ALONE)
def test_an_attribute_that_is_base64_alone_is_its_reference(body: bytes, media_type: str) -> None:
    assert stored({"app.media": encoded(body)}).attributes["app.media"] == reference(body, media_type)


def test_a_content_that_is_base64_alone_is_its_reference() -> None:
    found = stored({"traceloop.span.kind": "task", "traceloop.entity.output": encoded(PNG)})
    assert reference(PNG, "image/png") in (found.output or "")


def test_what_only_looks_like_base64_stays() -> None:
    for text in (encoded(PNG)[:400], "a" * 600, "//u" + "/path" * 200, encoded(bytes(range(256)) * 3), "/9j/ " * 200):
        assert stored({"app.text": text}).attributes["app.text"] == text
