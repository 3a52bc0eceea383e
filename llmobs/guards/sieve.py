"""What cannot hold anything, told in some microseconds: most texts need no closer look. A no is certain.

Injections: each sign that may stand in a text counts with its weight; a sum below the threshold is enough.
Personal data and secrets: whether any pattern may match.
"""

import codecs
import re
from dataclasses import dataclass

from llmobs.guards import sensitive
from llmobs.guards.injection import ENCODED_WEIGHT, TOOL_RESULT_POWER
from llmobs.guards.injection_patterns import EVERYWHERE, IN_TOOL_RESULTS, STRONG, Pattern
from llmobs.guards.linear import Finder, finder
from llmobs.guards.normal_form import is_spread, latin_form, normal_form, single_blanks

# These begin with words that every text has: what they go on with is looked for instead.
_RARER = {
    "developer_mode": r"\b(?:developer|god|debug|jailbreak)\s+mode\b",
    "unrestricted": r"\b(?:unrestricted|unfiltered|uncensored)\s"
    r"|\b(?:without|free\s+(?:of|from)|no|not\s+bound\s+by)\s+(?:(?:any|all|your|the|ethical|moral|safety|content)\s+)*"
    r"(?:restriction|filter|limitation|censorship|guidelines|safeguards|ethics|moral|rules)",
    "exfiltration": r"\b(?:conversation|history|system\s+prompt|secret|api\s+key|credential|password"
    r"|environment\s+variable)[^\n]{0,100}(?:https?://|\burls?\b|\bimage\b|\bto\s+\S+@)",
}
_TOGETHER = 2  # strong signs that one search looks for: it is slower with more
# Slow to look for, or seen often: where nothing was found before them, they cannot reach the usual threshold.
_LAST = ("many_newlines", "exfiltration")
_ROUNDED = 0.001  # scores are rounded to so much
_PIECES = 14
_WORDS = {1: "role", 5: "parts", 7: "type", 9: "text", 11: "content"}
_LETTERS, _BLANKS, _SIGNS = re.compile(r"\w+"), re.compile(r"\s+"), re.compile(r"[^\x00-\x7f]+")
_CLASSES = re.compile(r"\[(?:\\.|[^\]\\])*\]")


@dataclass(frozen=True, slots=True)
class _Step:
    """A search. `left`: what a find leaves of the trust in a text; `after`: what all later ones leave."""

    find: Finder
    left: float
    after: float


class _Sieve:
    """The searches for a set of signs, one after the other, until it is certain."""

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        ascii_only = [p for p in patterns if _is_ascii(p)]
        strong = [_source(p) for p in ascii_only if p.weight >= STRONG]
        others = sorted((p for p in ascii_only if p.weight < STRONG), key=lambda p: p.name in _LAST)
        searches = [(finder(strong[at : at + _TOGETHER]), 0.0) for at in range(0, len(strong), _TOGETHER)]
        searches += [(_may_be_encoded(), 1 - ENCODED_WEIGHT)]
        searches += [(finder([_source(p)]), 1 - p.weight) for p in others]
        self._steps: list[_Step] = []
        after = 1.0
        for find, left in reversed(searches):
            self._steps.insert(0, _Step(find, left, after))
            after *= left

    def may_reach(self, text: str, left_at_threshold: float) -> bool:
        left = 1.0
        for step in self._steps:
            if step.find(text):
                left *= step.left
                if left <= left_at_threshold:
                    return True
            if left * step.after > left_at_threshold:
                return False
        return False


def may_be_injection(text: str, is_tool_result: bool, threshold_permille: int) -> bool:
    """Whether a text's score may reach the threshold."""
    if text.isascii():
        plain = single_blanks(text.lower())
    else:
        in_ascii = _in_ascii(text)
        if in_ascii is None:
            return True
        plain = in_ascii
    left = 1.0 - threshold_permille / 1000 + _ROUNDED
    if is_tool_result:
        return _OF_TOOLS.may_reach(plain, left ** (1 / TOOL_RESULT_POWER)) or is_spread(plain)
    return _OF_USERS.may_reach(plain, left) or is_spread(plain)


def _in_ascii(text: str) -> str | None:
    """A text's forms with one ASCII character for each run of other letters, blanks or signs: alike to ASCII patterns.

    None where a pattern in another script may match.
    """
    plain = normal_form(text)
    forms = plain if (latin := latin_form(plain)) == plain else f"{plain}\n.\n{latin}"
    if forms.isascii():
        return forms
    try:
        forms.encode()
    except UnicodeEncodeError:  # lone surrogates, which Rust's engine cannot take
        return None
    return None if _OTHER_SCRIPTS(forms) else forms.encode("ascii", _ALIKE).decode()


def _alike(error: UnicodeError) -> tuple[str, int]:
    """For a run of other characters those of ASCII that patterns cannot tell from them."""
    assert isinstance(error, UnicodeEncodeError)
    run = error.object[error.start : error.end].replace("’", "'").replace("ç", "c")
    return _SIGNS.sub("\x7f", _BLANKS.sub("\x0b", _LETTERS.sub("x", run))), error.end


def may_be_sensitive(text: str) -> bool:
    """Whether personal data or a secret may stand in a text, or in JSON without escapes."""
    if not text.isascii():
        return sensitive.may_hold(text)
    if _KEY(text) or _EMAIL(text):
        return True
    return any(shape(text) for shape in _DIGIT_SHAPES) and _NUMBER(text)


def plain_texts(messages: str) -> list[tuple[str, str]] | None:
    """Roles and texts of stored messages, if each is of one text without escapes, as most are; None: decode them.

    `[{"role":"user","parts":[{"type":"text","content":"…"}]}, …]`: between quotes stand 14 pieces for each.
    """
    if "\\" in messages:
        return None
    pieces = messages.split('"')
    count = len(pieces) // _PIECES
    outside = "".join(pieces[::2]).replace(" ", "")
    if outside != "[{" + "},{".join([":,:[{:,:}]"] * count) + "}]":
        return None
    if any(pieces[at::_PIECES] != [word] * count for at, word in _WORDS.items()):
        return None
    return list(zip(pieces[3::_PIECES], pieces[13::_PIECES], strict=True))


def _is_ascii(pattern: Pattern) -> bool:
    return _CLASSES.sub("", pattern.regex.pattern).isascii()


def _source(pattern: Pattern) -> str:
    return _RARER.get(pattern.name, pattern.regex.pattern)


def _may_be_encoded() -> Finder:
    # Of 24 and more; some at its end may have got accents.
    speaks_of_it, run = finder(["base64", "decode"]), finder(["[A-Za-z0-9+/]{20}"])
    return lambda text: speaks_of_it(text) and run(text)


def _sought(*placeholders: str, looks_behind: bool = False) -> Finder:
    return finder([sensitive.PATTERNS[placeholder].pattern for placeholder in placeholders], looks_behind)


_OF_USERS, _OF_TOOLS = _Sieve(EVERYWHERE), _Sieve(EVERYWHERE + IN_TOOL_RESULTS)
_ALIKE = "llmobs.guards.alike"
codecs.register_error(_ALIKE, _alike)
_OTHER_SCRIPTS = finder(anchor for p in EVERYWHERE + IN_TOOL_RESULTS if not _is_ascii(p) for anchor in p.anchors[0])
_KEY, _EMAIL = _sought("KEY"), _sought("EMAIL")
_NUMBER = _sought("IBAN", "CARD", "SSN", "PHONE", looks_behind=True)
# As in `sensitive`: by first digit, since a search for up to three characters is faster by far.
_DIGIT_SHAPES = [finder([r"\+\d"])] + [
    finder([rf"{first}\d\d[ /()-]\d\d", rf"{first}\d{{6}}", rf"{first}\d[ /()-]\d\d[ /()-]\d\d"])
    for first in ("[0-2]", "[3-5]", "[6-8]", "9")
]
