"""A figure explained: shown, billed and computed anew, and how that comes about, in words and numbers."""

from dataclasses import dataclass

from dashboards import numbers
from dashboards.queries.explained import Explained, Part, explain
from dashboards.queries.figure import Figure
from dashboards.queries.scope import Cursor
from llmobs.core.money import exact_usd
from llmobs.pricing.price import TOKENS_PER_RATE
from llmobs.pricing.stated import is_stated

MOST_LINES = 40


@dataclass(frozen=True)
class Told:
    """What is said of a figure. Amounts are nano-USD, or tokens of a budget in tokens."""

    figure: Figure
    explained: Explained
    tokens: int

    @property
    def is_usd(self) -> bool:
        return self.figure.unit == "usd"

    @property
    def billed(self) -> int:
        return self.explained.billed_nanousd + self.held if self.is_usd else self.tokens

    @property
    def held(self) -> int:
        """What a budget counts for calls without a price."""
        return self.explained.held_nanousd if self.figure.counts_held else 0

    @property
    def recomputed(self) -> int | None:
        recomputed = self.explained.recomputed_nanousd
        if not self.is_usd:
            return self.tokens
        return None if recomputed is None else recomputed + self.held

    @property
    def difference(self) -> int | None:
        """What the figure shown has more than what was computed anew; None where that is not known."""
        return None if self.recomputed is None else (self.figure.shown or 0) - self.recomputed

    @property
    def is_equal(self) -> bool:
        """Whether shown, billed and, where it could be computed, computed anew are one."""
        return (self.figure.shown or 0) == self.billed and self.difference in (0, None)

    @property
    def formula(self) -> list[str]:
        """Each step in a line."""
        steps = [line for part in self.explained.parts for line in _lines(part)][:MOST_LINES]
        if unpriced := self.explained.unpriced_calls:
            calls = "1 call has" if unpriced == 1 else f"{unpriced:,} calls have"
            held = f"the budget counts the ${exact_usd(self.held)} that they held until they have one"
            steps.append(f"{calls} no price: {held if self.held else 'in no sum, and not guessed'}")
        return steps

    def amount(self, value: int | None) -> str | None:
        """A decimal string in the figure's unit."""
        if value is None:
            return None
        return exact_usd(value) if self.is_usd else str(value)


def told(cursor: Cursor, figure: Figure) -> Told:
    """Take a figure apart."""
    found = explain(cursor, figure.which)
    tokens = 0
    if figure.unit != "usd":
        cursor.execute(
            "SELECT COALESCE(sum(uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens "  # noqa: S608
            f"+ cache_write_1h_input_tokens + output_tokens), 0)::bigint FROM bill b WHERE {figure.which.condition}",
            figure.which.parameters,
        )
        tokens = cursor.fetchone()[0]
    return Told(figure, found, tokens)


def _lines(part: Part) -> list[str]:
    """Tokens × rate of each class, then what rounding each call up added, and the sum."""
    if is_stated(part.version):
        return [
            f"{part.calls:,} calls cost what their provider says, {part.version} = ${exact_usd(part.billed_nanousd)}"
        ]
    if part.price is None:
        return []
    before = 0
    steps = []
    for name, tokens, rate in part.lines:
        before += tokens * rate
        amount = exact_usd(tokens * rate // TOKENS_PER_RATE)
        words = name.removesuffix("_tokens").replace("_", " ")
        steps.append(f"{words}: {tokens:,} tokens × {numbers.money(rate)} per million = ${amount}")
    due = part.recomputed_nanousd
    if due is None:
        return [*steps, f"{part.version}: some of its calls cannot be computed anew, its rates do not say all of them"]
    if steps:
        rounded = due - before // TOKENS_PER_RATE
        up = f", each call rounded up to a billionth (+${exact_usd(rounded)})" if rounded else ""
        calls = "1 call" if part.calls == 1 else f"{part.calls:,} calls"
        long = f", with inputs above {part.above:,} tokens" if part.above >= 0 else ""
        return [*steps, f"{calls} of {part.price.model}{long} by price version {part.version}{up} = ${exact_usd(due)}"]
    return [f"{part.calls:,} calls of {part.price.model} by price version {part.version}, "
            f"each by its length, units and tier = ${exact_usd(due)}"]  # fmt: skip
