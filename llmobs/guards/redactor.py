"""Personal data and secrets become typed placeholders, such as [EMAIL_1].

Equal values of one call get equal placeholders, so that a conversation stays readable.
"""

from dataclasses import dataclass, field

from llmobs.guards.sensitive import replaced
from llmobs.guards.sieve import may_be_sensitive


@dataclass(slots=True)
class Redactor:
    """Redacts the texts of one span or call.

    `seen` counts each value found, by (`where` it stood, the placeholder's kind, the value). `is_repeat`: the texts at
    hand repeat what was counted already.
    """

    where: str = "input"
    is_repeat: bool = False
    seen: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _placeholders: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def redact(self, text: str) -> str:
        """The text with placeholders in place of what should not be kept."""
        return replaced(text, self._placeholder) if may_be_sensitive(text) else text

    def _placeholder(self, kind: str, value: str) -> str:
        place = self.where, kind, value
        if not self.is_repeat or place not in self.seen:
            self.seen[place] = self.seen.get(place, 0) + 1
        known = self._placeholders.get((kind, value))
        if known is None:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self._placeholders[kind, value] = f"[{kind}_{number}]"
        return known
