"""What is remembered of one session, and what it comes to: evidence of a runaway, and its score.

Counts are of a sliding window, by two buckets (the last one counts by the share of it that the window still covers).
Repetitions are counted twice, and the larger count is the sign. `same` are calls of the prompt that came most often,
whatever comes between. `alike` are calls in a row that say nothing new: one that does takes nearly all of them away, so
that a batch of new texts, or many samples of one question after another, never gathers what a loop gathers at once.

The score is a sum of signs, each at most what it is worth; none but repetition reaches 1 alone, and nothing is acted
upon below the cost mark.

| sign | full at | worth |
| --- | --- | --- |
| prompts as good as the same | `alike_calls` | 1 |
| the same tool calls again | `tool_calls` | 1 |
| input that grows with each call | `growth_calls`, and `growth_factor` times the beginning | 0.7 |
| cost against what is usual | `slope_factor` times | 0.3 |
"""

import msgspec

from llmobs.brake.signature import WORD_BITS, Signature, counts_on
from llmobs.tenants.braking import Marks

LAST_NUMBERS = 4  # prompts whose values are remembered: as many loops may count in one session
RING = 8  # prompts and tool calls that alternate are told by so many last ones
KEEPS_ONE_IN = 16  # repetitions, when something new is said
MOST_BITS = WORD_BITS // 4  # then the words said are forgotten: a new one is taken for known one time in four at most
SHRINKS = 0.9  # less input than that of the last call ends a row of growth; a little less does not
GROWTH_WORTH, SLOPE_WORTH = 0.7, 0.3
SLOWS_AT, PAUSES_AT = 0.6, 1.0
SLOWS_AT_COST = 4  # a part of the cost mark
FIRST_MARK = 0.1  # from that score on gateways tell each other


class Sums(msgspec.Struct):
    """Counts of one bucket."""

    calls: int = 0
    alike: int = 0
    same: int = 0
    tools: int = 0
    grown: int = 0
    cost_nanousd: int = 0

    @property
    def repeated(self) -> int:
        return max(self.alike, self.same)


class Evidence(msgspec.Struct, frozen=True, array_like=True):
    """What was seen within the window, as it is journalled, stored, shown and told to the caller."""

    score_permille: int
    calls: int
    alike_calls: int
    tool_calls: int
    growth_calls: int
    from_bytes: int
    to_bytes: int
    cost_nanousd: int
    usual_nanousd: int
    window_seconds: int


class Track:
    """One session, user or conversation of a key."""

    __slots__ = (
        "before", "bucket", "delays", "exact", "grown_from", "last", "last_bytes", "now", "numbers", "others",
        "pause_id", "paused_until_s", "state", "told", "tools", "top", "usual_nanousd", "waiting", "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bucket = 0
        self.now, self.last = Sums(), Sums()
        self.others = Sums()  # of the same session at other gateways
        self.words = 0
        self.numbers: tuple[tuple[bytes, ...], ...] = ()  # of the last prompts
        self.exact: dict[int, int] = {}  # the last prompts, the newest last: how often each came in this bucket
        self.before: dict[int, int] = {}  # the same of the bucket before
        self.top = 0  # the prompt that came most often
        self.tools: tuple[int, ...] = ()
        self.grown_from = self.last_bytes = 0
        self.usual_nanousd = 0  # of a window, as it was so far
        self.state = ""  # noted, slowed, paused
        self.pause_id, self.paused_until_s = "", 0.0
        self.delays = self.waiting = 0
        self.told = ""  # the evidence in words, as it was last told

    def called(self, said: Signature, body_bytes: int, now_s: float, marks: Marks) -> None:
        """Another call."""
        self.roll(now_s, marks)
        now = self.now
        now.calls += 1
        self._repeats(said)
        if said.tool:
            if said.tool in self.tools:
                now.tools += 1
            else:
                now.tools //= KEEPS_ONE_IN
                self.last.tools //= KEEPS_ONE_IN
                self.tools = (*self.tools[1 - RING :], said.tool)
        if body_bytes > self.last_bytes and self.last_bytes:
            now.grown += 1
        elif body_bytes < self.last_bytes * SHRINKS or not self.last_bytes:
            now.grown = self.last.grown = 0
            self.grown_from = body_bytes
        self.last_bytes = body_bytes

    def _repeats(self, said: Signature) -> None:
        now, is_known = self.now, said.exact in self.exact
        if said.exact:
            times = self.exact.pop(said.exact, 0)
            if len(self.exact) >= RING:
                del self.exact[next(iter(self.exact))]
            self.exact[said.exact] = times + 1
            if times >= now.same:
                now.same, self.top = times, said.exact
        if not is_known:
            # Words are asked for of sessions alone: a call without a word that was not said before says nothing new.
            is_known = bool(said.words) and bool(self.words) and not said.words & ~self.words
            is_known = is_known and any(counts_on(before, said.numbers) for before in self.numbers)
        if is_known:
            now.alike += 1
        else:
            now.alike //= KEEPS_ONE_IN
            self.last.alike //= KEEPS_ONE_IN
        if said.words:
            self.numbers = (*self.numbers[1 - LAST_NUMBERS :], said.numbers)
            self.words |= said.words
            if self.words.bit_count() > MOST_BITS:
                self.words = said.words

    @property
    def is_usual(self) -> bool:
        """Whether what this bucket cost may be taken for usual: what a loop costs is not."""
        return 2 * self.now.repeated < self.now.calls

    def roll(self, now_s: float, marks: Marks) -> None:
        """Go on to the bucket of this moment."""
        bucket = int(now_s // marks.window_seconds)
        passed = bucket - self.bucket
        if passed <= 0:
            return
        if self.bucket and self.is_usual:
            cost = self.now.cost_nanousd
            self.usual_nanousd += (cost - self.usual_nanousd) // 4 if self.usual_nanousd else cost
        self.last = self.now if passed == 1 else Sums()
        self.now, self.others, self.bucket = Sums(), Sums(), bucket
        self.exact, self.before = dict.fromkeys(self.exact, 0), self.exact if passed == 1 else {}

    def evidence(self, now_s: float, marks: Marks, factor: int, usual_nanousd: int) -> Evidence:
        """What is known now. `factor`: how much higher its marks are. `usual_nanousd`: of the tenant's sessions."""
        left = 1 - now_s / marks.window_seconds % 1
        now, last, others = self.now, self.last, self.others
        same = now.same + int(self.before.get(self.top, 0) * left)
        alike = max(now.alike + int(last.alike * left), same) + others.alike
        tools = now.tools + int(last.tools * left) + others.tools
        grown = now.grown + int(last.grown * left) + others.grown
        cost = now.cost_nanousd + int(last.cost_nanousd * left) + others.cost_nanousd
        usual = max(self.usual_nanousd, usual_nanousd, marks.cost_nanousd)
        growth = min(
            grown / (marks.growth_calls * factor),
            self.last_bytes / (marks.growth_factor * self.grown_from) if self.grown_from else 0.0,
            1.0,
        )
        score = (
            min(1.0, alike / (marks.alike_calls * factor))
            + min(1.0, tools / (marks.tool_calls * factor))
            + GROWTH_WORTH * growth
            + SLOPE_WORTH * min(1.0, cost / (marks.slope_factor * usual))
        )
        calls = now.calls + int(last.calls * left) + others.calls
        return Evidence(
            round(1000 * score), calls, alike, tools, grown, self.grown_from, self.last_bytes, cost, usual,
            marks.window_seconds,
        )  # fmt: skip

    def begin_anew(self) -> None:
        """A person has released it: what was seen before says nothing more."""
        waiting = self.waiting
        self.__init__()  # type: ignore[misc]
        self.waiting = waiting


def verdict(found: Evidence, marks: Marks, factor: int) -> str:
    """What the evidence calls for: paused, slowed or nothing. Below the cost mark nothing, however it looks."""
    cost, mark = found.cost_nanousd, marks.cost_nanousd * factor
    if found.score_permille >= 1000 * PAUSES_AT and cost >= mark:
        return "paused"
    if found.score_permille >= 1000 * SLOWS_AT and cost * SLOWS_AT_COST >= mark:
        return "slowed"
    return ""


def told(found: Evidence) -> str:
    """The evidence in words and numbers."""
    minutes = found.window_seconds / 60
    parts = [f"{found.calls} calls within {minutes:g} min"]
    if found.alike_calls > 1:
        parts.append(f"{found.alike_calls} of them with near-identical prompts")
    if found.tool_calls > 1:
        parts.append(f"{found.tool_calls} that repeat the same tool calls")
    if found.growth_calls > 1:
        parts.append(f"{found.growth_calls} in a row with growing input ({found.from_bytes} to {found.to_bytes} bytes)")
    parts.append(f"{found.cost_nanousd / 1e9:.2f} USD")
    return ", ".join(parts)
