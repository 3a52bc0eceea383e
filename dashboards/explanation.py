"""A figure explained: shown, billed and computed anew, and how that comes about, in words and numbers."""

from dataclasses import dataclass

from dashboards import numbers
from dashboards.queries.explained import Explained, Part, explain
from dashboards.queries.figure import Figure
from dashboards.queries.foretold import Foretold
from dashboards.queries.scope import Cursor
from dashboards.queries.timed import Timed
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


def told(cursor: Cursor, figure: Figure, is_whole: bool = False) -> Told:
    """Take a figure apart; `is_whole`: computed anew however many calls it has."""
    found = explain(cursor, figure.which, is_whole)
    tokens = 0
    if figure.unit != "usd":
        cursor.execute(
            f"SELECT COALESCE(sum({figure.measure}), 0)::bigint FROM bill b WHERE {figure.which.condition}",  # noqa: S608
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


def forecast_steps(found: Foretold) -> list[str]:
    """How a forecast comes about: what was spent, what is expected, and how wrong such expectations were before."""
    how = found.forecast.how if found.forecast else None
    if how is None or not how.series:
        return ["Too little is known: a forecast takes two days of spend, that of an hour's window two hours."]

    def amount(value: float) -> str:
        return numbers.money(round(value)) if found.unit == "usd" else f"{round(value):,} tokens"

    until, first = how.at.astimezone(found.zone), how.series[0].at.astimezone(found.zone)
    slot = "hours" if how.step.total_seconds() >= 3600 else "five minutes"
    steps = [f"spent until now: {amount(found.spent)}"]
    if round(how.rest) != found.spent:
        steps.append(
            f"of which {amount(found.spent - how.rest)} will have left the rolling window by its fullest moment"
        )
    steps.append(
        f"expected until {until:%-d %b %Y, %H:%M}: {amount(how.expected)}, by the pattern of the week and the present "
        f"level of {len(how.series):,} {slot} since {first:%-d %b %Y, %H:%M}"
    )
    ratios = how.ratios
    if ratios.moments:
        steps.append(
            f"× {ratios.middle:.4f}: the median of what came over what would have been foretold, at {ratios.moments} "
            f"earlier moments; the 80 % range is × {ratios.low:.2f} to × {ratios.high:.2f}, wider the fewer these are"
        )
    else:
        steps.append(f"× {ratios.middle:g}: too few earlier moments to compare with, so a third to three times is said")
    sum_of = f"{amount(how.rest)} + {amount(how.expected)} × {ratios.middle:.4f}"
    steps.append(f"{sum_of} = {amount(how.times(ratios.middle))}")
    if found.is_laid_out:
        steps.append(
            "the roll-ups do not know its dimensions: sums of its own past windows are laid out over the hours as all "
            "of the tenant's spend was"
        )
    return steps


def latency_steps(found: Timed) -> list[str]:
    """How a percentile comes about."""
    if found.shown_ms is None or found.bucket_ms is None:
        return ["No call is in it: calls that were refused, or said no such time, are not."]
    low, high = found.bucket_ms
    steps = [
        f"{found.calls:,} calls are counted in buckets, each 2 % wider than the one before; refused ones are not",
        f"{found.share:.0%} of them lie in or below the bucket from {low:,.3f} to {high:,.3f} ms",
        f"its middle, {found.shown_ms:,.3f} ms, is shown: at most 1 % from the exact one",
    ]
    if found.exact_ms is not None and found.exact_calls is not None:
        steps.append(f"exactly, from {found.exact_calls:,} durations put in order: {found.exact_ms:,.3f} ms")
    return steps
