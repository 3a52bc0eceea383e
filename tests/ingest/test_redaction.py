"""Redaction: what should not be kept becomes a typed placeholder, what only looks like it stays."""

import pytest

from llmobs.ingest.redaction import Redactor, is_card, is_iban, may_hold

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
