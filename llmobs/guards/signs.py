"""What guards found, in numbers and names: a sign for each injected message, and for each value of personal data."""

from collections.abc import Iterable
from dataclasses import dataclass

from llmobs.guards.injection import score
from llmobs.guards.redactor import Redactor
from llmobs.guards.sensitive import CONFIDENTIAL, INTERNAL, classify, kind_of, name_of
from llmobs.guards.sieve import may_be_injection
from llmobs.guards.texts import TOOL_RESULT, Message, asked, decode

INJECTION, TOO_LONG = "injection", "too_long"
MOST_SIGNS = 50  # of one kind in one call, told apart; what is beyond is summed up


@dataclass(frozen=True, slots=True)
class Sign:
    """`text`: what a fingerprint is made of, never kept; "": of several values."""

    kind: str  # injection, personal_data, secret, too_long
    where: str  # input, tool_result, output
    name: str
    text: str
    score_permille: int = 1000
    count: int = 1


def injections(messages: Iterable[Message], threshold_permille: int) -> list[Sign]:
    """The messages that reach the threshold; what the application and the model wrote is trusted."""
    found: list[Sign] = []
    for message in messages:
        if message.is_trusted:
            continue
        text, is_tool_result = message.text(), message.where == TOOL_RESULT
        if not may_be_injection(text, is_tool_result, threshold_permille):
            continue
        scored = score(text, is_tool_result)
        permille = round(1000 * scored.score)
        if permille >= threshold_permille:
            found.append(Sign(INJECTION, message.where, scored.names[0], text, permille))
    return found[:MOST_SIGNS]


def too_long(messages: Iterable[Message], most_characters: int) -> list[Sign]:
    """Messages of users that are longer than allowed."""
    users = (m for m in messages if not m.is_trusted and m.where != TOOL_RESULT)
    return [Sign(TOO_LONG, m.where, "characters", "", count=n) for m in users if (n := len(m.text())) > most_characters]


def sensitivity(body: bytes) -> str:
    """`confidential` where any text of a request holds personal data or a secret, else `internal`.

    Read as texts, not as JSON: an escape hides nothing. Fails closed: what cannot be read is confidential.
    """
    try:
        messages = asked(decode(body))
    except (ValueError, RecursionError, AttributeError):
        return CONFIDENTIAL
    is_found = any(classify(text) == CONFIDENTIAL for m in messages for place in m.places for text in place.texts())
    return CONFIDENTIAL if is_found else INTERNAL


def sensitive(redactor: Redactor) -> list[Sign]:
    """A sign for each value that the redactor saw."""
    signs = [
        Sign(kind_of(placeholder), where, name_of(placeholder, value), value, count=count)
        for (where, placeholder, value), count in redactor.seen.items()
    ]
    beyond: dict[tuple[str, str, str], int] = {}
    for sign in signs[MOST_SIGNS:]:
        key = sign.kind, sign.where, sign.name
        beyond[key] = beyond.get(key, 0) + sign.count
    return signs[:MOST_SIGNS] + [Sign(*key, text="", count=count) for key, count in beyond.items()]
