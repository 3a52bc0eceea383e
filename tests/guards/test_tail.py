"""Texts that flow in pieces: the same is masked as in the whole, wherever it is cut, and little is held back."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.guards.json_tail import JsonTail
from llmobs.guards.redactor import Redactor
from llmobs.guards.tail import MOST_HELD, Tail

TEXTS = [
    "Write to bob@example.com today.",
    "Card 4111 1111 1111 1111, expires 12/30. Thanks.",
    "IBAN DE89 3704 0044 0532 0130 00 and GB29 NWBK 6016 1331 9268 19 please",
    "Call +49 30 1234567 or (555) 123-4567 or 030 1234567 now",
    "我的手机号是13812345678，邮箱bob@example.com。谢谢",
    "mobile 138 1234 5678 and ssn 078-05-1120.",
    "Authorization: Bearer abcdefghijklmnopqrstuv ok",
    "password: hunter2hunter2 and password=hunter3hunter3&x=1",
    "key sk-abcdefghijklmnop1234567890 leaks",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE abc\ndef\n-----END RSA PRIVATE KEY----- after all",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.dozjgNryP4J3jVmNHl0w5N is a token",
    "1 2 3 4 5 6, 7.5, 8.25; 2026-11-21 12:30:45 and 100 200 300",
    "-----BEGIN CERTIFICATE----- abc -----END CERTIFICATE----- x",
    "Grüße aus München: ümläüte 😀 und bob@example.com 😀",
]


def in_pieces(text: str, sizes: random.Random) -> list[str]:
    pieces, at = [], 0
    while at < len(text):
        size = sizes.choice([1, 1, 2, 3, 7, 20])
        pieces.append(text[at : at + size])
        at += size
    return pieces


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("seed", range(8))
def test_pieces_are_masked_as_the_whole_is(text: str, seed: int) -> None:
    """S2-39: a pattern cut in two is found all the same."""
    tail = Tail(Redactor().redact)
    flowed = "".join(tail.feed(piece) for piece in in_pieces(text, random.Random(seed))) + tail.end()
    assert flowed == Redactor().redact(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*TEXTS, " ", "\n", "words without anything", "中文"]), max_size=5), st.randoms())
def test_any_sequence_of_pieces_is_masked_as_the_whole_is(texts: list[str], sizes: random.Random) -> None:
    text = " ".join(texts)
    tail = Tail(Redactor().redact)
    flowed = "".join(tail.feed(piece) for piece in in_pieces(text, sizes)) + tail.end()
    assert flowed == Redactor().redact(text)


def test_of_a_sentence_no_more_than_a_word_is_held() -> None:
    tail, sent, come = Tail(Redactor().redact), 0, 0
    for piece in in_pieces("The quick brown fox jumps over the lazy dog and then it rests. " * 20, random.Random(1)):
        come += len(piece)
        sent += len(tail.feed(piece))
        assert come - sent <= 30


def test_capitals_and_rows_of_numbers_do_not_wait_for_ever() -> None:
    for text in ("THIS IS ALL IN CAPITALS AND LONG " * 30, "12, 13, 14.5; 1,234\n" * 50, "中文字符没有空格" * 100):
        tail, sent, come = Tail(Redactor().redact), 0, 0
        for piece in in_pieces(text, random.Random(2)):
            come += len(piece)
            sent += len(tail.feed(piece))
            assert come - sent <= 60


def test_what_has_no_place_to_cut_is_bounded() -> None:
    tail, sent, come = Tail(Redactor().redact), 0, 0
    for piece in in_pieces("x/y+" * 3000, random.Random(3)):
        come += len(piece)
        sent += len(tail.feed(piece))
        assert come - sent <= MOST_HELD + 20


def test_a_key_longer_than_what_is_held_is_swallowed() -> None:
    """S2-39: nothing of it goes."""
    secret = "sk-" + "Ab9_" * 1000
    private = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQ+/ab\n" * 300 + "-----END PRIVATE KEY-----"
    for value in (secret, private):
        tail = Tail(Redactor().redact)
        pieces = in_pieces(f"here: {value} was it", random.Random(4))
        flowed = "".join(tail.feed(piece) for piece in pieces) + tail.end()
        assert flowed == "here: [KEY_1] was it"


def test_a_private_key_that_never_ends_is_not_shown() -> None:
    tail = Tail(Redactor().redact)
    text = "a -----BEGIN PRIVATE KEY-----\n" + "MIIEvQ+/ab\n" * 300
    flowed = "".join(tail.feed(piece) for piece in in_pieces(text, random.Random(5))) + tail.end()
    assert flowed == "a [KEY_1]"


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(TEXTS),
        st.just(4111111111111111), st.just(13812345678),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\n\"\\", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(JSON, st.booleans(), st.randoms())
def test_json_stays_json_and_is_masked_within_its_strings(value: object, is_ascii: bool, sizes: random.Random) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    tail, redactor = JsonTail(Redactor().redact), Redactor()
    flowed = "".join(tail.feed(piece) for piece in in_pieces(text, sizes)) + tail.end()
    json.loads(flowed)
    for text_of in ("bob@example.com", "4111111111111111", "13812345678"):
        assert text_of not in flowed
    if redactor.redact(text) == text and "\\" not in text:
        assert json.loads(flowed) == value


def test_an_escape_hides_nothing() -> None:
    tail = JsonTail(Redactor().redact)
    text = '{"to": "bob\\u0040example.com\\nsk-abcdefghijklmnop1234567890", "n": 4111111111111111}'
    flowed = "".join(tail.feed(c) for c in text) + tail.end()
    assert json.loads(flowed) == {"to": "[EMAIL_1]\n[KEY_1]", "n": "[CARD_1]"}


def test_what_is_no_json_flows_all_the_same() -> None:
    tail = JsonTail(Redactor().redact)
    flowed = "".join(tail.feed(c) for c in 'broken "\\q \\ud83d bob@example.com') + tail.end()
    assert "bob@example.com" not in flowed
    assert flowed.startswith("broken")
