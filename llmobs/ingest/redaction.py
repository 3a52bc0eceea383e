"""Redaction: personal data and secrets in a text become typed placeholders, such as [EMAIL_1].

Equal values of one span get equal placeholders, so that a conversation stays readable. What looks like a card or an
IBAN must pass its checksum. Fast on clean text: substring searches decide which patterns need to look at all.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}(?![\w-])")
# Two capitals, two check digits, 11 to 30 more, blanks between groups allowed (ISO 13616).
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
# 13 to 19 digits, blanks or dashes between groups (ISO/IEC 7812).
_CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d])")
# International with its plus or 00, or national with its zero or an area code in brackets, or 555-123-4567.
_PHONE = re.compile(
    r"(?<![\w.+-])(?:(?:\+|00)[1-9](?:[ ./-]?\(?\d\)?){6,14}"
    r"|\(0?\d{2,4}\)[ ./-]?\d(?:[ ./-]?\d){4,9}"
    r"|0[1-9]\d{0,3}[ /-]\d(?:[ ./-]?\d){4,9}"
    r"|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w])"
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
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # JSON Web Tokens
    r")"
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/-]{20,}=*)"
    r"|(?i:(?<=password=)|(?<=password: )|(?<=api_key=)|(?<=api-key: )|(?<=secret=))[^\s\"'&,;]{6,}"
)
# Every kind of key but the named ones (password=…) has a run of so many letters, digits or underscores.
_LONGEST_PLAIN_RUN = b"a" * 16
_RUNS = bytes(97 if (chr(c).isalnum() and c < 128) or c == 95 else 32 for c in range(256))
_KEY_NAMES = (b"password", b"secret=", b"api_key", b"api-key", b"private key", b"bearer ")

# Digits become 9, what separates groups of them becomes a dot: shapes are then found by substring search.
_SHAPES = bytes.maketrans(b"0123456789 -/()", b"9999999999.....")
_DIGIT_SHAPES = (b"999.99", b"9999999", b"+9", b"99.99.99")


def may_hold(text: str) -> bool:
    """Whether any pattern could match; False is certain, True is not. A few substring searches over all of it."""
    if "@" in text:
        return True
    data = text.encode("utf-8", "replace")
    return _may_hold_digits(data) or _may_hold_key(data)


def _may_hold_digits(data: bytes) -> bool:
    shape = data.translate(_SHAPES)
    return b"9" in shape and any(part in shape for part in _DIGIT_SHAPES)


def _may_hold_key(data: bytes) -> bool:
    if _LONGEST_PLAIN_RUN in data.translate(_RUNS):
        return True
    lowered = data.lower()
    return any(name in lowered for name in _KEY_NAMES)


@dataclass(slots=True)
class Redactor:
    """Redacts the texts of one span: equal values share a placeholder."""

    _placeholders: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def redact(self, text: str) -> str:
        """The text with placeholders in place of what should not be kept."""
        data = text.encode("utf-8", "replace")
        if _may_hold_key(data):
            text = self._replace("KEY", _KEY, text, None)
        if "@" in text:
            text = self._replace("EMAIL", _EMAIL, text, None)
        if _may_hold_digits(data):
            text = self._replace("IBAN", _IBAN, text, is_iban)
            text = self._replace("CARD", _CARD, text, is_card)
            text = self._replace("PHONE", _PHONE, text, None)
        return text

    def _replace(self, kind: str, pattern: re.Pattern[str], text: str, holds: Callable[[str], bool] | None) -> str:
        def placeholder(match: re.Match[str]) -> str:
            value = match.group()
            return self._placeholder(kind, value) if holds is None or holds(value) else value

        return pattern.sub(placeholder, text)

    def _placeholder(self, kind: str, value: str) -> str:
        known = self._placeholders.get((kind, value))
        if known is None:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self._placeholders[(kind, value)] = f"[{kind}_{number}]"
        return known


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
