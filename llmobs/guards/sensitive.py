"""Personal data and secrets in a text: what they look like, and what only looks like them.

A card or an IBAN must pass its checksum; a telephone number has the shape of its country. Fast on clean text:
substring searches decide which patterns need to look at all.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

PERSONAL_DATA, SECRET = "personal_data", "secret"
CONFIDENTIAL, INTERNAL = "confidential", "internal"

# Letters of Latin, Greek and Cyrillic: in Chinese an address stands between words without a blank.
_LETTERS = r"A-Za-z0-9_\u00c0-\u024f\u0370-\u052f"
_EMAIL = re.compile(
    rf"(?<![{_LETTERS}.+-])[{_LETTERS}.+%-]{{1,64}}@[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}})*"
    rf"\.[A-Za-z]{{2,24}}(?![{_LETTERS}-])"
)
# Two capitals, two check digits, 11 to 30 more, blanks between groups allowed (ISO 13616).
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])", re.ASCII)
# 13 to 19 digits, blanks or dashes between groups (ISO/IEC 7812).
_CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d])")
# Social security numbers of the USA: areas 000, 666 and 9xx, group 00 and serial 0000 are never given.
_SSN = re.compile(r"(?<![\d.-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])", re.ASCII)
# International with its plus or 00, or national with its zero or an area code in brackets, or 555-123-4567, or a
# mobile number of China, which may touch the words around it.
_PHONE = re.compile(
    r"(?<![\w.+-])(?:(?:\+|00)[1-9](?:[ ./-]?\(?\d\)?){6,14}"
    r"|\(0?\d{2,4}\)[ ./-]?\d(?:[ ./-]?\d){4,9}"
    r"|0[1-9]\d{0,3}[ /-]\d(?:[ ./-]?\d){4,9}"
    r"|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w])"
    r"|(?<![A-Za-z0-9_.+-])1[3-9]\d(?:\d{8}|[ -]\d{4}[ -]\d{4})(?![A-Za-z0-9_-]|\.\d)"
)
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic and what imitates them
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}"  # Stripe
    r"|llmobs-[A-Za-z0-9_-]{16,}|llmobsint\.[A-Za-z0-9._-]{16,}"  # our own
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}"  # AWS
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}"  # Google
    r"|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    # JSON Web Tokens. One that is glued to a run of its own letters is looked for within bounds: else each of many
    # beginnings would be followed to the run's end.
    r"|(?:(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}+|eyJ[A-Za-z0-9_-]{10,400}+)"
    r"\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}"
    r")"
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/-]{20,}=*)"
    r"|(?i:(?<=password=)|(?<=password: )|(?<=api_key=)|(?<=api-key: )|(?<=secret=))[^\s\"'&,;]{6,}"
)
# Every kind of key but the named ones (password=…) has a run of so many letters, digits or underscores.
_LONGEST_PLAIN_RUN = b"a" * 16
_RUNS = bytes(97 if (chr(c).isalnum() and c < 128) or c == 95 else 32 for c in range(256))
_KEY_NAMES = (b"password", b"secret=", b"api_key", b"api-key", b"private key", b"bearer ")
_SLACK_KEY = re.compile(rb"xox[abeoprs]-")  # xox alone stands in words

# By placeholder.
PATTERNS = {"KEY": _KEY, "EMAIL": _EMAIL, "IBAN": _IBAN, "CARD": _CARD, "SSN": _SSN, "PHONE": _PHONE}

# Digits become 9, what separates groups of them becomes a dot: shapes are then found by substring search.
_SHAPES = bytes.maketrans(b"0123456789 -/()", b"9999999999.....")
_DIGIT_SHAPES = (b"999.99", b"9999999", b"+9", b"99.99.99")

Found = Callable[[str, str], str]  # placeholder kind and value: what stands in its place


@dataclass(frozen=True, slots=True)
class _Kind:
    """`placeholder`: the word in brackets; `name`: what findings say."""

    placeholder: str
    name: str
    kind: str


_KINDS = {
    k.placeholder: k
    for k in (
        _Kind("KEY", "api_key", SECRET),
        _Kind("EMAIL", "email", PERSONAL_DATA),
        _Kind("IBAN", "iban", PERSONAL_DATA),
        _Kind("CARD", "card", PERSONAL_DATA),
        _Kind("SSN", "ssn", PERSONAL_DATA),
        _Kind("PHONE", "phone", PERSONAL_DATA),
    )
}


def may_hold(text: str) -> bool:
    """Whether any pattern could match; False is certain, True is not. A few substring searches over all of it."""
    if "@" in text:
        return True
    data = text.encode("utf-8", "replace")
    return _may_hold_digits(data) or _may_hold_key(data)


def replaced(text: str, found: Found) -> str:
    """The text with what `found` answers in place of each value; keys first, since they may hold the others."""
    data = text.encode("utf-8", "replace")
    if _may_hold_key(data):
        text = _KEY.sub(lambda m: found("KEY", m.group()), text)
    if "@" in text:
        text = _EMAIL.sub(lambda m: found("EMAIL", m.group()), text)
    if _may_hold_digits(data):
        text = _IBAN.sub(lambda m: found("IBAN", m.group()) if is_iban(m.group()) else m.group(), text)
        text = _CARD.sub(lambda m: found("CARD", m.group()) if is_card(m.group()) else m.group(), text)
        text = _SSN.sub(lambda m: found("SSN", m.group()), text)
        text = _PHONE.sub(lambda m: found("PHONE", m.group()), text)
    return text


def spans(text: str) -> list[tuple[int, int]]:
    """Where values stand, in no order; some may overlap."""
    if not may_hold(text):
        return []
    checked = ((_KEY, None), (_EMAIL, None), (_IBAN, is_iban), (_CARD, is_card), (_SSN, None), (_PHONE, None))
    return [m.span() for pattern, holds in checked for m in pattern.finditer(text) if holds is None or holds(m.group())]


def classify(text: str) -> str:
    """`confidential` where personal data or a secret stands in it, else `internal`."""
    return CONFIDENTIAL if spans(text) else INTERNAL


def kind_of(placeholder: str) -> str:
    """`personal_data` or `secret`."""
    return _KINDS[placeholder].kind


def name_of(placeholder: str, value: str) -> str:
    """What findings call it: email, card, jwt …"""
    if placeholder != "KEY":
        return _KINDS[placeholder].name
    if value.startswith("-----BEGIN"):
        return "private_key"
    return "jwt" if value.startswith("eyJ") else "api_key"


def _may_hold_digits(data: bytes) -> bool:
    shape = data.translate(_SHAPES)
    return b"9" in shape and any(part in shape for part in _DIGIT_SHAPES)


def _may_hold_key(data: bytes) -> bool:
    if _LONGEST_PLAIN_RUN in data.translate(_RUNS):
        return True
    lowered = data.lower()
    return any(name in lowered for name in _KEY_NAMES) or (b"xox" in lowered and _SLACK_KEY.search(lowered) is not None)


def is_card(text: str) -> bool:
    """Luhn's checksum over the digits (ISO/IEC 7812-1, annex B)."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """The remainder of 97 (ISO 7064) over country, check digits and account."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1
