"""What one process knows of one provider's model: its breaker, its counts and latencies. No I/O.

1. Own outcomes act at once, on what all gateways have seen by the last flush and this one since.
2. What changes here is a *proposal* until a flush has brought it to the board (llmobs/health/board.py), or has brought
   back what another gateway was quicker with.
3. A verdict carries the epoch that it was given in: what was begun before the breaker opened says nothing about it now.
"""

from typing import NamedTuple

from gateway.routing.breaker import CLOSED, OPEN, RAMP, Breaker, Seen, is_failing, judged, probed, state_of
from gateway.routing.measured import Latencies, Window
from gateway.routing.strategies import Standing
from llmobs.health.board import Row

GO, SKIP, PROBE = "go", "skip", "probe"
PROBE_SECONDS = 60.0  # a probe without news for so long keeps nobody else from probing
DENIED_SECONDS = 0.5  # another gateway probes: asked again after that
SHARED_SECONDS = 2.0  # sums of all gateways that are older are of the past: one's own count then
LEAST_SAMPLES = 5
MOST_COOLING_SECONDS = 60.0
COOLING_SECONDS = 1.0  # after a 429 that does not say how long


class Verdict(NamedTuple):
    """Whether a call may go to a candidate; handed back with how it went."""

    word: str
    epoch: int = 0

    @property
    def is_skip(self) -> bool:
        return self.word == SKIP


class Cell:
    """One candidate in this process."""

    __slots__ = (
        "_credit",
        "_denied_until_s",
        "_probe_until_s",
        "_turns",
        "base_url",
        "breaker",
        "changes",
        "cooling_until_s",
        "epoch",
        "first",
        "go",
        "label",
        "name",
        "own_p95",
        "p95",
        "pending_failed",
        "pending_ok",
        "pending_run",
        "proposal",
        "sent",
        "shared",
        "shared_s",
        "touched_s",
        "version",
        "whole",
        "window",
    )

    def __init__(self, name: str, label: str, base_url: str) -> None:
        self.name = name
        self.label = label  # provider/model, for logs and counters
        self.base_url = base_url
        self.breaker = Breaker()
        self.version = 0  # on the board
        self.epoch = 0
        self.go = Verdict(GO)
        self.window = Window()
        self.first, self.whole = Latencies(), Latencies()
        self.own_p95 = {True: 0.0, False: 0.0}  # is_stream: milliseconds
        self.p95: dict[bool, tuple[float, int]] = {}  # of all gateways: is_stream: milliseconds, samples
        self.pending_ok = self.pending_failed = self.pending_run = 0  # since the last flush
        self.sent = Seen()  # on its way
        self.shared = Seen()
        self.shared_s = float("-inf")
        self.proposal: Breaker | None = None
        self.changes: list[tuple[str, Seen]] = []  # phases entered by what was seen here, to be logged and counted
        self.cooling_until_s = 0.0
        self.touched_s = 0.0
        self._credit = 0.0
        self._probe_until_s = 0.0
        self._denied_until_s = 0.0
        self._turns = 0

    # ------------------------------------------------------------ asked

    def is_due(self, now_s: float) -> bool:
        """Open, and a probe may go."""
        is_free = now_s >= self._probe_until_s and now_s >= self._denied_until_s
        return self.breaker.phase == OPEN and now_s >= self.breaker.until_s and is_free

    def until_probe_s(self, now_s: float) -> float:
        """Seconds until it may be asked again, as far as is known: a probe under way may end at any moment."""
        return max(0.0, self.breaker.until_s - now_s) if self.breaker.phase == OPEN else 0.0

    def standing(self, now_s: float) -> Standing:
        breaker = self.breaker
        if breaker.phase == OPEN:
            return Standing(is_open=not self.is_due(now_s), is_recovering=True)
        return Standing(
            is_cooling=now_s < self.cooling_until_s,
            is_failing=is_failing(self.seen(now_s)),
            is_recovering=breaker.phase == RAMP,
        )

    def take_share(self) -> bool:
        """Whether a call is of the ramp's share: evenly spread, the first one is."""
        share = self.breaker.share
        self._credit += share
        if self._credit < 1.0 - 1e-9:
            return False
        self._credit -= 1.0
        return True

    def take_probe(self, now_s: float) -> Verdict:
        """The probe is this call's."""
        self._probe_until_s = now_s + PROBE_SECONDS
        return Verdict(PROBE, self.epoch)

    def deny_probe(self, now_s: float) -> None:
        self._probe_until_s = 0.0
        self._denied_until_s = now_s + DENIED_SECONDS

    def drop_probe(self) -> None:
        """It came to nothing: the next call may probe."""
        self._probe_until_s = 0.0

    def is_probing(self, now_s: float) -> bool:
        return now_s < self._probe_until_s

    def seen(self, now_s: float) -> Seen:
        """By all gateways, else by this one."""
        if now_s - self.shared_s > SHARED_SECONDS:
            return self.window.seen(now_s)
        return _added(_added(self.shared, self.sent), self.pending)

    def state(self, now_s: float) -> str:
        return state_of(self.breaker, self.seen(now_s), now_s < self.cooling_until_s)

    def p95_ms(self, is_stream: bool) -> float | None:
        """None: too few samples to say."""
        p95, samples = self.p95.get(is_stream, (0.0, 0))
        return p95 if samples >= LEAST_SAMPLES else None

    # ------------------------------------------------------------ told

    def ended(self, has_succeeded: bool, verdict: Verdict, now_s: float) -> None:
        """How a call went that `verdict` let through."""
        if verdict.epoch != self.epoch:
            return
        if self.breaker.phase == OPEN:
            if verdict.word == PROBE:
                self.turn(probed(has_succeeded, now_s), now_s)
            return
        self.window.add(now_s, has_succeeded)
        if has_succeeded:
            self.pending_ok += 1
            self.pending_run = 0
        else:
            self.pending_failed += 1
            self.pending_run += 1
            self.judge(now_s)

    def cool(self, seconds: float | None, now_s: float) -> None:
        """Behind the others for as long as the provider said."""
        pause = min(COOLING_SECONDS if seconds is None else seconds, MOST_COOLING_SECONDS)
        self.cooling_until_s = max(self.cooling_until_s, now_s + pause)

    def judge(self, now_s: float) -> None:
        """Change the phase where what was seen says so."""
        new = judged(self.breaker, self.seen(now_s), now_s)
        if new is not self.breaker:
            self.turn(new, now_s)

    def turn(self, new: Breaker, now_s: float) -> None:
        """Enter a phase by our own judgement: a proposal to all others."""
        if new.phase != self.breaker.phase or new.phase == OPEN:
            self.changes.append((new.phase, self.seen(now_s)))
        is_new_epoch = new.phase == OPEN or self.breaker.phase == OPEN
        self.proposal = new
        self._turns += 1
        self._begin(new, -self._turns if is_new_epoch else self.epoch)

    def measure(self, now_s: float) -> None:
        """This process's own p95, which stands for all gateways' where no flush has brought that."""
        is_alone = now_s - self.shared_s > SHARED_SECONDS
        for is_stream, latencies in ((True, self.first), (False, self.whole)):
            p95 = self.own_p95[is_stream] = latencies.p95_ms(now_s)
            if is_alone:
                self.p95[is_stream] = (p95, latencies.samples)

    # ------------------------------------------------------------ the board

    @property
    def pending(self) -> Seen:
        return Seen(self.pending_ok, self.pending_failed, self.pending_run)

    def _no_pending(self) -> None:
        self.pending_ok = self.pending_failed = self.pending_run = 0

    def take_pending(self) -> Seen:
        """What a flush takes along."""
        self.sent = self.pending
        self._no_pending()
        return self.sent

    def adopt(self, row: Row | None, counter: int, server_ms: int, now_s: float) -> None:
        """Take what the board says, unless something newer is on its way there."""
        if self.proposal is not None:
            return
        if row is None:
            self._off_the_board(counter)
        elif row.version != self.version:
            until_s = now_s + (row.until_ms - server_ms) / 1000
            since_s = now_s - (server_ms - row.since_ms) / 1000
            self.version = row.version
            self._begin(Breaker(row.phase, row.step, until_s, since_s), row.epoch)

    def share_counts(self, shared: Seen, now_s: float) -> None:
        self.shared, self.sent, self.shared_s = shared, Seen(), now_s

    def _off_the_board(self, counter: int) -> None:
        if not self.version:
            return
        is_lost = counter < self.version
        self.version = 0
        if is_lost and self.breaker.phase != CLOSED:
            self.proposal = self.breaker
        else:
            self._begin(Breaker(), 0)

    def _begin(self, breaker: Breaker, epoch: int) -> None:
        if (breaker.phase == RAMP and breaker.step != self.breaker.step) or self.breaker.phase == OPEN:
            self._credit = 1.0 - breaker.share  # a step lets its first call through
        self.breaker, self.epoch, self.go = breaker, epoch, Verdict(GO, epoch)
        self.window.clear()
        self._no_pending()
        self.sent = self.shared = Seen()
        self._probe_until_s = self._denied_until_s = 0.0


def _added(before: Seen, since: Seen) -> Seen:
    """Both, in this order: a success ends the failures in a row before it."""
    if not since.total:
        return before
    run = since.run if since.ok else before.run + since.failed
    return Seen(before.ok + since.ok, before.failed + since.failed, run)


def proposal_words(breaker: Breaker, now_s: float) -> str:
    """A proposal as the board reads it."""
    span_ms = max(0, round(1000 * (breaker.until_s - now_s))) if breaker.phase != CLOSED else 0
    return f"{breaker.phase} {breaker.step} {span_ms}"
