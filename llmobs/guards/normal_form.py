"""One form for texts that look alike, so that a pattern need not know how they were disguised.

1. NFKC: full-width, styled and ligature letters become plain ones.
2. Characters that do not show (zero-width, soft hyphen, direction marks, tags, variation selectors) go.
3. Case is folded; letters of other scripts that look like Latin ones become those; accents on Latin letters go.
4. Runs of blanks become one; letters set apart by single blanks, dots or dashes ("i g n o r e") are put together.
"""

import re
import unicodedata
from typing import Literal

from llmobs.guards.linear import finder

_UNSHOWN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e01ef]"
)
# Cyrillic, Greek, Armenian and Cherokee letters that a reader takes for Latin ones, after case folding (Unicode's
# confusables.txt, those of one letter each).
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝӏɡıαεορτυνκιхмтвнкɑοցոսհքզ",
    "aeopcyxijshdqwlgiaeoptuvkixmtbhkaognuhqq",
)
_MAY_LOOK_ALIKE = re.compile("[\u0131\u0250-\u02af\u0370-\u058f]")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_SPREAD = re.compile(r"\b[a-z](?:[ .\-_*][a-z]){4,}\b")
# Marks are put in order pair by pair: of a pile of them, so many at once. What belongs to a letter stays with it.
_PIECES = re.compile(r"(?s).{1,200}(?=[\w\s]|\Z)|.{1,200}")
_SEPARATORS = re.compile(r"[ .\-_*]")
_BLANKS = re.compile(r"[ \t\u00a0]{2,}|\t")
# Letters become "a", separators a blank: letters set apart are then found by substring search.
_SHAPES = bytes(97 if chr(c).isalpha() and c < 128 else 32 if chr(c) in " .-_*" else 0 for c in range(256))
_HAS_RUNS = finder(["[ ]{2}"])
_IS_SPREAD = finder(["a[ ]a[ ]a[ ]a[ ]a"])


def is_spread(text: str) -> bool:
    """Whether letters may be set apart; False is certain."""
    return _IS_SPREAD(text.encode("utf-8", "replace").translate(_SHAPES).decode("ascii"))


def single_blanks(text: str) -> str:
    """Runs of blanks are one."""
    # Of a text that Rust's engine cannot take (lone surrogates) a no says nothing.
    has_runs = "\t" in text or _HAS_RUNS(text) or (not text.isascii() and "  " in text)
    return _BLANKS.sub(" ", text) if has_runs else text


def normal_form(text: str) -> str:
    """The text as patterns see it; line breaks stay."""
    if not text.isascii():
        text = _UNSHOWN.sub("", _normalized("NFKC", text))
    text = text.casefold()
    text = single_blanks(text)
    if is_spread(text):
        text = _SPREAD.sub(lambda m: _SEPARATORS.sub("", m.group()), text)
    return text


def latin_form(text: str) -> str:
    """A normal form with look-alikes as Latin letters and without accents."""
    if text.isascii():
        return text
    if _MAY_LOOK_ALIKE.search(text):
        text = text.translate(_LOOKALIKES)
    return _ACCENTS.sub("", _normalized("NFD", text))


def _normalized(form: Literal["NFKC", "NFD"], text: str) -> str:
    return "".join([unicodedata.normalize(form, piece) for piece in _PIECES.findall(text)])
