"""How much a text looks like an attempt to take over a model: a score from 0 to 1, with the patterns that it is of.

1. The text is brought into one form (`guards.normal_form`), so that disguises fall away.
2. A pattern looks only where one of its anchors, a plain substring, stands in the text.
3. Weights add up like independent signs: 1 - (1 - w1)(1 - w2)… A phrase that has hardly another use (`STRONG`) reaches
   the usual threshold of 0.7 alone; a word that ordinary texts have too (`WEAK`) never does.
4. What a tool brought was written by strangers: there each sign weighs more, and orders to the model are signs too.
"""

import re
from base64 import b64decode
from dataclasses import dataclass

from llmobs.guards.injection_patterns import EVERYWHERE, IN_TOOL_RESULTS, Pattern
from llmobs.guards.normal_form import latin_form, normal_form

# In a tool's result w counts as 1 - (1 - w)^1.5: 0.55 becomes 0.70, 0.35 becomes 0.48.
TOOL_RESULT_POWER = 1.5
ENCODED_WEIGHT = 0.8
_ENCODED = re.compile(r"[A-Za-z0-9+/]{24,4000}={0,2}")
MOST_ENCODED = 20  # runs looked into


@dataclass(frozen=True, slots=True)
class Injection:
    """`names`: of the patterns found, heaviest first."""

    score: float
    names: tuple[str, ...]


NONE = Injection(0.0, ())


def score(text: str, is_tool_result: bool = False) -> Injection:
    """How much the text looks like an injection."""
    plain = normal_form(text)
    patterns = EVERYWHERE + IN_TOOL_RESULTS if is_tool_result else EVERYWHERE
    weights = _weights(plain, patterns)
    if "base64" in plain or "decode" in plain:
        weights |= _encoded(text)
    if not weights:
        return NONE
    left = 1.0
    for weight in weights.values():
        left *= 1.0 - weight
    if is_tool_result:
        left **= TOOL_RESULT_POWER
    return Injection(1.0 - left, tuple(sorted(weights, key=lambda name: -weights[name])))


def _weights(plain: str, patterns: tuple[Pattern, ...]) -> dict[str, float]:
    """The patterns that match, each once, in the text or in its Latin form."""
    found: dict[str, float] = {}
    latin = latin_form(plain)
    for form in (plain,) if latin == plain else (plain, latin):
        for pattern in patterns:
            if pattern.name not in found and pattern.matches(form):
                found[pattern.name] = pattern.weight
    return found


def _encoded(text: str) -> dict[str, float]:
    """What stands in base64 in a text that speaks of it is read too."""
    for run in _ENCODED.findall(text)[:MOST_ENCODED]:
        try:
            inside = b64decode(run + "=" * (-len(run) % 4), validate=True).decode()
        except ValueError:
            continue
        if any(weight >= 0.5 for weight in _weights(normal_form(inside), EVERYWHERE).values()):
            return {"encoded_instructions": ENCODED_WEIGHT}
    return {}
