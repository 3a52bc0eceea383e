"""Which anchors of injections stand in a text, found all at once: without them no sign can stand there.

Tables for one pass over a text, which the compiled module of ingestion makes: where three letters stand that an anchor
begins with, its letters are followed down a tree. What stands there is told in bits, one for each group of anchors: a
sign may stand where each of its groups does.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from struct import pack

from llmobs.guards.injection import ENCODED_WEIGHT
from llmobs.guards.injection_patterns import EVERYWHERE

SPREAD = 1 << 63  # letters set apart, of which words may be made
_ENCODED = ("base64", "decode")
_ROUNDED = 0.001  # scores are rounded to so much
_KINDS_OF_THREE = 32
_LETTER, _SIGN = 64, 32
_SIGNS_BETWEEN = " .-_*"

# Of each byte its kind; of each three kinds whether an anchor begins so; of each byte its class; of each state and
# class the next state; the bits of each state; the bit of letters set apart.
Tables = tuple[bytes, bytes, bytes, bytes, bytes, int]


def tables(bits: dict[str, int]) -> Tables:
    """Of these anchors in lower case, each with its bits; letters of a text are alike in both cases."""
    letters = sorted({letter for anchor in bits for letter in anchor})
    class_of = {letter: number for number, letter in enumerate(letters, start=1)}
    kinds = bytes(_kind(chr(byte)) if byte < 128 else 0 for byte in range(256))
    classes = bytes(class_of.get(chr(byte).lower(), 0) if byte < 128 else 0 for byte in range(256))
    moves, told = _tree(bits, class_of)
    return kinds, _heads(bits), classes, moves, told, SPREAD


def _kind(letter: str) -> int:
    """Letters apart, all else in a few kinds; and whether it may stand in letters that are set apart."""
    lower = letter.lower()
    if "a" <= lower <= "z":
        return _LETTER | ord(lower) - ord("a") + 6
    return (_SIGN if letter in _SIGNS_BETWEEN else 0) | (1 if letter == " " else 2 + ord(letter) % 4)


def _heads(anchors: Iterable[str]) -> bytes:
    found = bytearray(_KINDS_OF_THREE**3 // 8)
    every = range(_KINDS_OF_THREE)
    for anchor in anchors:
        known = [[_kind(letter) % _KINDS_OF_THREE] for letter in anchor[:3]]
        for first, second, third in product(*known, *[every] * (3 - len(known))):
            three = (first * _KINDS_OF_THREE + second) * _KINDS_OF_THREE + third
            found[three >> 3] |= 1 << (three & 7)
    return bytes(found)


def _tree(bits: dict[str, int], class_of: dict[str, int]) -> tuple[bytes, bytes]:
    moves, told = [[0] * (len(class_of) + 1)], [0]
    for anchor, of_anchor in bits.items():
        state = 0
        for letter in anchor:
            if not moves[state][class_of[letter]]:
                moves[state][class_of[letter]] = len(moves)
                moves.append([0] * (len(class_of) + 1))
                told.append(0)
            state = moves[state][class_of[letter]]
        told[state] |= of_anchor
    return b"".join(pack(f"={len(row)}H", *row) for row in moves), pack(f"={len(told)}Q", *told)


def _groups() -> list[tuple[str, ...]]:
    """Of the signs that may stand in ASCII, each once; the last is of what may be encoded."""
    found = {group: None for pattern in EVERYWHERE for group in pattern.anchors if _is_ascii(group)}
    return [*found, _ENCODED]


def _is_ascii(group: Iterable[str]) -> bool:
    return any(anchor.isascii() for anchor in group)


def _bits() -> dict[str, int]:
    bits: dict[str, int] = {}
    for number, group in enumerate(_GROUPS):
        for anchor in group:
            if anchor.isascii():
                bits[anchor] = bits.get(anchor, 0) | 1 << number
    return bits


_GROUPS = _groups()
_BIT_OF = {group: 1 << number for number, group in enumerate(_GROUPS)}
# Of each sign the bits that it needs, and its weight.
_SIGNS = [
    (sum({_BIT_OF[group] for group in pattern.anchors}), pattern.weight)
    for pattern in EVERYWHERE
    if all(_is_ascii(group) for group in pattern.anchors)
]
_SIGNS.append((_BIT_OF[_ENCODED], ENCODED_WEIGHT))
OF_INJECTIONS = tables(_bits())


@lru_cache(maxsize=4096)
def may_reach(seen: int, threshold_permille: int) -> bool:
    """Whether a text in ASCII with these anchors may be an injection; False is certain."""
    if seen & SPREAD:
        return True
    left = 1.0
    for needed, weight in _SIGNS:
        if seen & needed == needed:
            left *= 1.0 - weight
    return left <= 1.0 - threshold_permille / 1000 + _ROUNDED
