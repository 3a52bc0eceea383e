"""How the providers' models are, agreed by all gateways through Valkey, and cheap on a call's path.

1. A call asks `allows` before each attempt (nothing is awaited unless an open breaker is due for its probe) and tells
   `ok`, `failed` or `neither` after it, with the verdict that it got.
2. Successes are counted here and flushed twice a second, in one command; a failure that changes something is flushed
   at once. The reply brings all gateways' sums, latencies and phases: they agree within about half a second.
3. A change is logged, and counted for Prometheus; the worker copies the board into PostgreSQL (llmobs/health), from
   where pages and alerts read it.

Fails open: with Valkey away each gateway judges by what it sees itself.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from gateway.routing import retrying
from gateway.routing.breaker import CLOSED, OPEN, UNHEALTHY, Seen
from gateway.routing.cell import GO, PROBE, SKIP, Cell, Verdict, proposal_words
from gateway.routing.strategies import Standing
from gateway.valkey import Away, Valkey
from llmobs.budgets.ledger import Command
from llmobs.budgets.scripts import Script
from llmobs.health import board
from llmobs.providers.registry import CandidateInfo

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
ACTIVE_SECONDS = 60.0  # without a call for so long a candidate's counts are not flushed
MOST_CELLS = 2_000  # when full, healthy ones that rest are forgotten, then any that is healthy

_FLUSH, _LEASE = Script("health_flush", board.FLUSH), Script("health_lease", board.LEASE)
_ALWAYS, _SKIP = Verdict(GO, -(1 << 62)), Verdict(SKIP)


class Health:
    """All candidates of one gateway. On one event loop."""

    def __init__(
        self,
        valkey: Valkey | None,
        owner: str,
        clock: Callable[[], float] = time.monotonic,
        changes: Counter[tuple[str, str]] | None = None,
    ) -> None:
        self._valkey = valkey
        self._owner = owner
        self._clock = clock
        self._cells: dict[tuple[int, str], Cell] = {}
        self._rows: dict[str, board.Row] = {}
        self._counter = 0
        self._server_offset_ms = 0.0  # the board's clock less ours
        self._hurry = asyncio.Event()
        self.changes = Counter() if changes is None else changes  # provider/model, phase entered

    # ------------------------------------------------------------ asked by a call

    def standing(self, candidate: CandidateInfo, now_s: float) -> Standing:
        """How the candidate stands, for the order of a route. Takes nothing."""
        standing = self._cell(candidate).standing(now_s)
        return standing if candidate.provider.breaker else Standing(is_cooling=standing.is_cooling)

    def goes(self, candidate: CandidateInfo, now_s: float) -> Verdict | None:
        """`allows` where there is nothing to decide: the breaker is closed. None: there is."""
        cell = self._cell(candidate)
        if cell.breaker.phase != CLOSED or not candidate.provider.breaker:
            return None
        cell.touched_s = now_s
        return cell.go

    async def allows(self, candidate: CandidateInfo, now_s: float) -> Verdict:
        """Whether an attempt may go to the candidate now: go, skip, or go as the one probe of an open breaker."""
        if not candidate.provider.breaker:
            return _ALWAYS
        cell = self._cell(candidate)
        cell.touched_s = now_s
        if cell.breaker.phase == CLOSED:
            return cell.go
        if cell.breaker.phase != OPEN:
            return cell.go if cell.take_share() else _SKIP
        return await self._probe(cell, now_s) if cell.is_due(now_s) else _SKIP

    def p95_ms(self, candidate: CandidateInfo, is_stream: bool) -> float | None:
        """Of the first byte (streams) or the whole answer, of all gateways; None: too few calls of late to say."""
        return self._cell(candidate).p95_ms(is_stream)

    def state(self, candidate: CandidateInfo) -> str:
        """healthy, degraded, recovering or unhealthy."""
        return self._cell(candidate).state(self._clock())

    def until_probe_s(self, candidates: Iterable[CandidateInfo]) -> float:
        """Seconds until the first of them may be asked again."""
        now_s = self._clock()
        return min((self._cell(candidate).until_probe_s(now_s) for candidate in candidates), default=0.0)

    # ------------------------------------------------------------ told by a call

    def ok(
        self, candidate: CandidateInfo, ttft_ns: int | None, duration_ns: int | None, verdict: Verdict | None = None
    ) -> None:
        """An answer came: `ttft_ns` of a stream (told at its first byte), `duration_ns` of a whole answer.

        Both None: how long it took says nothing of the model (a count of tokens).
        """
        cell, now_s = self._cell(candidate), self._clock()
        cell.touched_s = now_s
        if ttft_ns is not None:
            cell.first.add(now_s, ttft_ns)
        elif duration_ns is not None:
            cell.whole.add(now_s, duration_ns)
        self._ended(cell, candidate, True, verdict, now_s)

    def failed(
        self,
        candidate: CandidateInfo,
        kind: str,
        retry_after_s: float | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """The attempt failed: `kind` of `gateway.routing.retrying`. Only what is the provider's fault counts."""
        cell, now_s = self._cell(candidate), self._clock()
        if kind in retrying.FAILURES:
            self._ended(cell, candidate, False, verdict, now_s)
            return
        if kind == retrying.RATE_LIMITED:
            cell.cool(retry_after_s, now_s)
        self.neither(candidate, verdict)

    def neither(self, candidate: CandidateInfo, verdict: Verdict | None = None) -> None:
        """The attempt says nothing about the provider: a caller's 4xx, cancelled, or never sent."""
        if verdict is not None and verdict.word == PROBE:
            cell = self._cell(candidate)
            if cell.epoch == verdict.epoch:
                cell.drop_probe()

    def _ended(
        self, cell: Cell, candidate: CandidateInfo, has_succeeded: bool, verdict: Verdict | None, now_s: float
    ) -> None:
        if not candidate.provider.breaker:
            return
        if verdict is None:
            verdict = Verdict(PROBE if cell.is_probing(now_s) else GO, cell.epoch)
        cell.touched_s = now_s
        cell.ended(has_succeeded, verdict, now_s)
        if not has_succeeded or cell.changes:
            self._tell_changes(cell)
            self._hurry.set()

    async def _probe(self, cell: Cell, now_s: float) -> Verdict:
        """The probe, if no other gateway has it. Taken before it is asked for: no second call asks meanwhile."""
        verdict = cell.take_probe(now_s)
        if self._valkey is None or not self._valkey.is_connected:
            return verdict
        try:
            command = Command(_LEASE, [board.STATES_KEY], [self._owner, cell.name, str(verdict.epoch)])
            is_ours = bool((await self._valkey.run_script(command))[0])
        except Away:
            is_ours = True
        except BaseException:  # cancelled: nobody probes
            cell.drop_probe()
            raise
        if is_ours:
            return verdict
        if cell.epoch == verdict.epoch:
            cell.deny_probe(now_s)
        return _SKIP

    # ------------------------------------------------------------ the board

    async def keep(self) -> None:
        """Flush twice a second, and at once where a failure is to be told. Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            try:
                await self.tick()
            except Exception:  # the task's outermost loop: health that fails must not end with it
                log.exception("the providers' health cannot be kept")

    async def tick(self) -> None:
        """Judge what time alone changes, and exchange with the board."""
        now_s = self._clock()
        active = [cell for cell in self._cells.values() if _is_active(cell, now_s)]
        for cell in active:
            cell.judge(now_s)
            cell.measure(now_s)
            self._tell_changes(cell)
        if self._valkey is None or not self._valkey.is_connected:
            return
        proposals = [cell.proposal for cell in active]
        try:
            reply = await self._valkey.run_script(self._flush(active, now_s))
        except Away:
            return
        self._take(active, proposals, reply)

    def _flush(self, active: list[Cell], now_s: float) -> Command:
        keys, args = [board.STATES_KEY], [self._owner]
        for cell in active:
            sent = cell.take_pending()
            proposal = proposal_words(cell.proposal, now_s) if cell.proposal is not None else ""
            keys += board.counts_keys(cell.name)
            args += [cell.name, str(sent.ok), str(sent.failed), str(sent.run), str(cell.epoch), _latencies(cell)]
            args += [str(cell.version), proposal, "1" if cell.is_probing(now_s) else ""]
        return Command(_FLUSH, keys, args)

    def _take(self, active: list[Cell], proposals: list[Any], reply: list[Any]) -> None:
        now_s, server_ms = self._clock(), int(reply[0])
        self._counter = int(reply[1])
        self._server_offset_ms = server_ms - now_s * 1000
        self._rows = board.read_states(reply[2])
        for cell, proposal, (ok, failed, run, latencies) in zip(active, proposals, reply[3], strict=True):
            if proposal is not None and cell.proposal is proposal:
                cell.proposal = None  # it is there, or another gateway was quicker
            elif cell.proposal is None:
                cell.share_counts(Seen(int(ok), int(failed), int(run)), now_s)
            cell.p95 = _merged([bytes(words).decode() for words in latencies])
        for cell in self._cells.values():
            cell.adopt(self._rows.get(cell.name), self._counter, server_ms, now_s)
        for cell in active:  # what all gateways saw together may be what no one saw alone
            cell.judge(now_s)
            if cell.changes:
                self._tell_changes(cell)
                self._hurry.set()

    def _tell_changes(self, cell: Cell) -> None:
        for phase, seen in cell.changes:
            if len(self.changes) < MOST_CELLS or (cell.label, phase) in self.changes:  # names come from callers
                self.changes[cell.label, phase] += 1
            level = logging.WARNING if phase == OPEN else logging.INFO
            state = UNHEALTHY if phase == OPEN else phase
            text = "breaker of %s is %s (%s): %d of %d calls failed, %d in a row"
            log.log(level, text, cell.label, phase, state, seen.failed, seen.total, seen.run)
        cell.changes.clear()

    def _cell(self, candidate: CandidateInfo) -> Cell:
        provider = candidate.provider
        cell = self._cells.get((provider.id, candidate.model))
        if cell is not None and cell.base_url == provider.base_url:
            return cell
        if len(self._cells) >= MOST_CELLS:
            self._forget()
        cell = Cell(board.name_of(candidate), f"{provider.name}/{candidate.model}", provider.base_url)
        now_s = self._clock()
        cell.adopt(self._rows.get(cell.name), self._counter, int(now_s * 1000 + self._server_offset_ms), now_s)
        self._cells[provider.id, candidate.model] = cell
        return cell

    def _forget(self) -> None:
        now_s = self._clock()
        resting = [key for key, cell in self._cells.items() if not _is_active(cell, now_s)]
        healthy = [key for key, cell in self._cells.items() if cell.breaker.phase == CLOSED]
        for key in resting or healthy[: MOST_CELLS // 10] or list(self._cells)[:1]:
            del self._cells[key]


def _is_active(cell: Cell, now_s: float) -> bool:
    is_at_rest = cell.breaker.phase == CLOSED and cell.proposal is None
    return not is_at_rest or now_s - cell.touched_s < ACTIVE_SECONDS


def _latencies(cell: Cell) -> str:
    """This process's p95 in microseconds and how many samples it has, of first bytes and of whole answers."""
    first, whole = cell.first, cell.whole
    if not (first.samples or whole.samples):
        return ""
    first_us, whole_us = round(cell.own_p95[True] * 1000), round(cell.own_p95[False] * 1000)
    return f"{first_us} {first.samples} {whole_us} {whole.samples}"


def _merged(by_gateway: list[str]) -> dict[bool, tuple[float, int]]:
    """The mean of the gateways' p95, weighed by their samples: near the p95 of all, and no sketch is sent around."""
    sums = {True: [0.0, 0], False: [0.0, 0]}
    for words in by_gateway:
        first_us, first_n, whole_us, whole_n = (int(word) for word in words.split())
        for is_stream, p95_us, samples in ((True, first_us, first_n), (False, whole_us, whole_n)):
            sums[is_stream][0] += p95_us * samples
            sums[is_stream][1] += samples
    return {kind: (total / 1000 / count if count else 0.0, int(count)) for kind, (total, count) in sums.items()}
