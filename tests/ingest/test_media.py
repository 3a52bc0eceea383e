"""Images and sound are kept by what they are, not by their bytes; embedding vectors by their dimension.

PAINS 48: base64 in prompts makes pages and stores slow; 45: what may not be stored is stored nowhere.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest

from llmobs.ingest.media import LONG_TEXT, refer, referred, referred_body, referred_json, referred_text
from llmobs.ingest.messages import request_messages, response_messages
from llmobs.ingest.otlp.messages import MOST_CHARACTERS, official
from tests.ingest.making import call
from tests.ingest.otlp.sent import read

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
