"""Personal data and secrets (S2-04, S2-39): each becomes a typed placeholder, what only looks like it stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.guards.redactor import Redactor
from llmobs.guards.sensitive import CONFIDENTIAL, INTERNAL, classify, is_card, is_iban, may_hold

REPLACED = {
    "write to bob.smith+x@mail.example.co.uk now": "write to [EMAIL_1] now",
    "a@x.org, b@x.org and a@x.org": "[EMAIL_1], [EMAIL_2] and [EMAIL_1]",
    "card 4111 1111 1111 1111 exp 12/30": "card [CARD_1] exp 12/30",
    "card 4111-1111-1111-1111.": "card [CARD_1].",
    "amex 378282246310005": "amex [CARD_1]",
    "to DE89 3704 0044 0532 0130 00 please": "to [IBAN_1] please",
    "GB82WEST12345698765432": "[IBAN_1]",
    "call +49 30 1234567 today": "call [PHONE_1] today",
    "call +1 (555) 123-4567": "call [PHONE_1]",
    "call 555-123-4567": "call [PHONE_1]",
    "fon (030) 123 4567": "fon [PHONE_1]",
    "tel 030 1234567": "tel [PHONE_1]",
    "tel 06 12 34 56 78": "tel [PHONE_1]",
    "key sk-abcdefghijklmnop1234567890 leaks": "key [KEY_1] leaks",
    "sk-ant-api03-abcdefghijklmnopqrstuvwx": "[KEY_1]",
    "ours llmobs-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6": "ours [KEY_1]",
    "AKIAIOSFODNN7EXAMPLE": "[KEY_1]",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789": "[KEY_1]",
    "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.dozjgNryP4J3jVmNHl0w5N": "jwt [KEY_1]",
    "Authorization: Bearer abcdefghijklmnopqrstuv": "Authorization: Bearer [KEY_1]",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after": "[KEY_1] after",
    "password=hunter2hunter2&x=1": "password=[KEY_1]&x=1",
    "slack xoxb-12345-abcde-fghij": "slack [KEY_1]",
    "ssn 078-05-1120 on file": "ssn [SSN_1] on file",
    "我的手机号是13812345678，请回电": "我的手机号是[PHONE_1]，请回电",
    "mobile 138 1234 5678": "mobile [PHONE_1]",
    "电话：13912345678 邮箱bob@example.com。": "电话：[PHONE_1] 邮箱[EMAIL_1]。",
    "schreib an jürgen.groß@example.de": "schreib an [EMAIL_1]",
    "iban FR14 2004 1010 0505 0001 3M02 606": "iban [IBAN_1]",
}

KEPT = [
    "order 4111 1111 1111 1112 is no card",
    "0000 0000 0000 0000",
    "DE89370400440532013001 fails the checksum of 97",
    "version 1.2.3 of 2026-11-21 at 12:30:45",
    "2026-11-21T12:30:45.123Z took 123456 ms",
    "192.168.100.200 and 3.14159265358979",
    "task-force, risk-free, sk-short",
    "id 550e8400-e29b-41d4-a716-446655440000",
    "twitter @handle and a @ b",
    "1,234,567 tokens; 100 200 300",
    "000-12-3456, 666-12-3456 and 912-34-5678 are never given",
    "build 12812345678 and order 1381234567",
    "part A13812345678B",
    "at 1699999999 s, 1699999999999 ms",
]


@pytest.mark.parametrize("text", REPLACED)
def test_it_is_replaced(text: str) -> None:
    assert may_hold(text)
    assert Redactor().redact(text) == REPLACED[text]


@pytest.mark.parametrize("text", KEPT)
def test_it_is_kept(text: str) -> None:
    assert Redactor().redact(text) == text


def test_placeholders_are_shared_over_the_texts_of_a_span() -> None:
    redactor = Redactor()
    assert redactor.redact("from a@x.org") == "from [EMAIL_1]"
    assert redactor.redact("to b@x.org, a@x.org") == "to [EMAIL_2], [EMAIL_1]"


def test_clean_words_are_known_to_be_clean() -> None:
    assert not may_hold("the quick brown fox jumps over the lazy dog 12 times")


def test_checksums() -> None:
    assert is_card("4111111111111111")
    assert not is_card("4111111111111112")
    assert is_iban("DE89370400440532013000")
    assert not is_iban("DE88370400440532013000")


def test_the_same_value_is_counted_where_it_stood() -> None:
    redactor = Redactor()
    redactor.redact("a@x.org, a@x.org")
    redactor.where = "output"
    redactor.redact("a@x.org")
    assert redactor.seen == {("input", "EMAIL", "a@x.org"): 2, ("output", "EMAIL", "a@x.org"): 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("打电话给13812345678", CONFIDENTIAL),
        ("call +49 30 1234567", CONFIDENTIAL),
        ("mail bob@example.com", CONFIDENTIAL),
        ("the key is sk-abcdefghijklmnop1234567890", CONFIDENTIAL),
        ("4111 1111 1111 1111", CONFIDENTIAL),
        ("the quarterly plan", INTERNAL),
        ("twitter @handle", INTERNAL),
        ("order 12345678901", INTERNAL),
        ("", INTERNAL),
    ],
)
def test_a_text_is_confidential_where_a_telephone_or_an_address_stands_in_it(text: str, expected: str) -> None:
    """S4-20, S1-03: the class by which routing keeps documents local; any country's telephone, not China's alone."""
    assert classify(text) == expected


VALUES = st.sampled_from(
    [
        "bob@example.com", "a.b+c@mail.example.co.uk", "4111 1111 1111 1111", "378282246310005",
        "DE89 3704 0044 0532 0130 00", "+49 30 1234567", "13812345678", "078-05-1120",
        "sk-abcdefghijklmnop1234567890", "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.dozjgNryP4J3jVmNHl0w5N",
    ]
)  # fmt: skip
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Nd", "Cs"], exclude_characters="@-+"), max_size=20)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(WORDS, VALUES), min_size=1, max_size=4), WORDS)
def test_masking_leaves_nothing_of_a_value(parts: list[tuple[str, str]], end: str) -> None:
    """S2-04, S2-39: whatever stands around it."""
    text = "".join(f"{words} \n{value}\n" for words, value in parts) + end
    masked = Redactor().redact(text)
    for _, value in parts:
        assert value not in masked


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_a_text_without_findings_is_not_changed(text: str) -> None:
    redactor = Redactor()
    masked = redactor.redact(text)
    assert bool(redactor.seen) == (masked != text)
