"""A tenant's runaway brake: what it does, and the marks from which on a loop is taken for one."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from llmobs.core.money import NANOUSD_PER_USD, MoneyError, parse_usd

OFF, LOG, SLOW, PAUSE = "off", "log", "slow", "pause"
MODES = {
    OFF: "off: not looked for",
    LOG: "log: recorded and told, nothing is stopped",
    SLOW: "slow: calls of a loop wait",
    PAUSE: "pause: calls wait, then the session is paused",
}

Count = Annotated[int, msgspec.Meta(ge=2, le=100_000)]
Factor = Annotated[int, msgspec.Meta(ge=2, le=1000)]


class Marks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a session runs away. Counts are within the window; each names its unit.

    The defaults come from the replay of `tests/bench/brake.py`: no session of real traffic or of a batch job reaches
    them, and a loop at a cent a call is stopped after a hundred calls.
    """

    window_seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 600
    cost_usd: str = "1.00"  # within the window: below it nothing is paused, below a quarter nothing is slowed
    alike_calls: Count = 100  # with a prompt as good as the same
    tool_calls: Count = 60  # that repeat a tool call with the same arguments
    growth_calls: Count = 150  # in a row, each with more input than the one before
    growth_factor: Factor = 10  # how far past the input with which the row began
    slope_factor: Factor = 10  # times the cost usual for a session of the tenant in a window
    user_factor: Factor = 3  # marks of a user without session are so much higher
    key_factor: Factor = 10  # marks of a key without session and user
    first_delay_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 250  # doubled with each call that waits
    most_delay_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 10_000
    most_waiting: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4  # calls of one session at once; more are refused
    pause_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 24  # then the session begins anew

    @property
    def cost_nanousd(self) -> int:
        return parse_usd(self.cost_usd)


DEFAULTS = Marks()


def marks(given: Mapping[str, Any]) -> Marks:
    """The marks with what a tenant sets of them. Raises ValueError, saying what is wrong."""
    try:
        found = msgspec.convert(dict(given), Marks)
        cost = found.cost_nanousd
    except (msgspec.ValidationError, MoneyError) as error:
        raise ValueError(f"{error}; there are {', '.join(Marks.__struct_fields__)}.") from None
    if not NANOUSD_PER_USD // 10_000 <= cost <= 1_000_000 * NANOUSD_PER_USD:
        raise ValueError(f"cost_usd: {found.cost_usd!r} is not between 0.0001 and 1000000.")
    return found


def marks_error(given: object) -> str:
    """What is wrong with a tenant's marks, "" for nothing."""
    if not isinstance(given, dict):
        return 'Marks by name, such as {"alike_calls": 100, "cost_usd": "1.00"}.'
    try:
        marks(given)
    except ValueError as error:
        return str(error)
    return ""
