"""What a request says last, in a few integers: pure, and bounded however long the request is.

1. The last message begins at the last `"role"` (or tool output) of the body; of a long one its first and last bytes
   are looked at, and a checksum of what lies between.
2. Ids, case and white space are left out; in `words` digits and what is punctuation too, so that a counter or a time
   of day makes no new prompt.
3. `numbers`: the values in it. What only counts on (attempt 7, attempt 8) says nothing new, other figures do: a job
   asks the same of many records. Times, dates and long ids are no values.
4. The last tool call that the body shows: its name and arguments without ids.
"""

import re
from typing import NamedTuple
from zlib import crc32

EDGE_BYTES = 1024  # of a message's beginning and of its end
MIDDLE_BYTES = 32 * 1024  # of what lies between, by its checksum
REACHES = (32 * 1024, 1024 * 1024)  # from the body's end, in which its last message is looked for
TOOL_BYTES = 1024  # of a tool call
TOOL_REACH_BYTES = 8 * 1024  # how far back from the last message a tool call is looked for
WORD_BITS = 2048
HEAD_BYTES = 512
LEAST_WORDS = 6  # with those of the format itself: role, user, content
MOST_ESCAPES = 8
MOST_NUMBERS = 16  # values that are compared one by one; of the others a checksum
COUNTS_ON = 16  # a counter's longest step: eight agents, or tries that failed, count on one

_IDS = re.compile(rb'"(?:tool_call_id|tool_use_id|call_id|id)"\s*:\s*"[^"]*"|\b(?:call|toolu|fc|msg|resp)_[\w-]+')
_WORD = re.compile(rb"[a-z\x80-\xff]{2,}")
_FIGURE = re.compile(rb"\d[\w.:/-]*")
# Up to eight digits that stand alone: `12:30`, `2026-11-21`, `v2`, `1763000000123` are no values.
_VALUE = re.compile(rb"\d{1,8}(?:\.\d{1,6})?")
_BEFORE = frozenset(b"abcdefghijklmnopqrstuvwxyz_.:/-")
_TOOL = (b'"tool_calls"', b'"tool_use"', b'"function_call"')


class Signature(NamedTuple):
    """`exact`: of the last message; `words`: a bit for each word in it; `tool`: of the last tool call. 0: none.

    `numbers`: the values in it, where its words are told.
    """

    exact: int
    words: int
    tool: int
    numbers: tuple[bytes, ...] = ()


UNKNOWN = Signature(0, 0, 0)


def signature(body: bytes, has_words: bool) -> Signature:
    """Of a request in any format. `has_words`: whether near-identity is asked, which takes a little longer."""
    begin, end = _last_message(body)
    if begin < 0:
        return UNKNOWN
    edges, between = _edges(body, begin, end)
    edges = _IDS.sub(b"", edges).replace(b"\\n", b" ").replace(b"\\t", b" ")  # as JSON writes white space
    normal = b" ".join(edges.lower().split())
    words = _bits(normal, between) if has_words else 0
    return Signature(crc32(normal, between), words, _tool(body, begin), _numbers(normal) if words else ())


def head(body: bytes) -> int:
    """Of how a conversation begins: what its calls have in common, and others have not."""
    begin = body.find(b'"messages"')
    if begin < 0:
        begin = max(body.find(b'"input"'), 0)
    user = body.find(b'"user"', begin)  # a system prompt is the same for all conversations
    begin = user if user >= 0 else begin
    return crc32(b" ".join(body[begin : begin + HEAD_BYTES].lower().translate(None, b"0123456789").split()))


def _last_message(body: bytes) -> tuple[int, int]:
    """From where to where it stands; -1: it begins too far from the body's end to be looked for."""
    begin = -1
    for reach in REACHES:
        low = max(0, len(body) - reach)
        begin = body.rfind(b'"role"', low)
        if reach == REACHES[0]:
            begin = max(begin, body.rfind(b'"function_call_output"', low))
        if begin >= 0 or not low:
            break
    if begin < 0:
        begin = body.find(b'"input"', 0, HEAD_BYTES)
        return begin, len(body) if begin >= 0 else -1
    if body.find(b'"content"', begin, begin + 200) < 0 and body.find(b'"output"', begin, begin + 200) < 0:
        return max(body.rfind(b"{", 0, begin), begin - 2 * EDGE_BYTES, 0), begin  # the content stands before its role
    end = body.find(b"}]", begin)
    return begin, end if end >= 0 else len(body)


def _edges(body: bytes, begin: int, end: int) -> tuple[bytes, int]:
    if end - begin <= 2 * EDGE_BYTES:
        return body[begin:end], 0
    middle = begin + EDGE_BYTES
    between = crc32(memoryview(body)[middle : min(end - EDGE_BYTES, middle + MIDDLE_BYTES)], end - begin & 0xFFFFFFFF)
    return body[begin:middle] + b" " + body[end - EDGE_BYTES : end], between


def _bits(normal: bytes, between: int) -> int:
    """0: too few words to tell, or letters written as escapes."""
    words = set(_WORD.findall(normal))
    if len(words) < LEAST_WORDS or normal.count(b"\\u") > MOST_ESCAPES:
        return 0
    bits = 1 << between % WORD_BITS if between else 0
    for word in words:
        bits |= 1 << crc32(word) % WORD_BITS
    return bits


def _numbers(normal: bytes) -> tuple[bytes, ...]:
    found = []
    for figure in _FIGURE.finditer(normal):
        begin = figure.start()
        value = figure[0].rstrip(b".:/-")
        if not (begin and normal[begin - 1] in _BEFORE) and _VALUE.fullmatch(value):
            found.append(value)
    if len(found) <= MOST_NUMBERS:
        return tuple(found)
    return (*found[:MOST_NUMBERS], b"%d" % crc32(b" ".join(found[MOST_NUMBERS:])))


def counts_on(before: tuple[bytes, ...], numbers: tuple[bytes, ...]) -> bool:
    """Whether these values are those of an earlier prompt, or count on from them."""
    if len(before) != len(numbers):
        return False
    pairs = zip(before, numbers, strict=True)
    return all(one == other or 0 <= float(other) - float(one) <= COUNTS_ON for one, other in pairs)


def _tool(body: bytes, last: int) -> int:
    low = max(0, last - TOOL_REACH_BYTES)
    begin = max(body.rfind(name, low, last) for name in _TOOL)
    if begin < 0:
        return 0
    return crc32(_IDS.sub(b"", body[begin : min(begin + TOOL_BYTES, last)])) or 1
