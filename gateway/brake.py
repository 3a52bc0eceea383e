"""The runaway brake in the call's way: a session that goes round in circles is slowed, then paused.

1. `look`: the call's session is remembered (`llmobs.brake.memory`: bounded, fair to tenants), the request's signature
   is taken, and the evidence is judged (`llmobs.brake.track`). No round trip: nothing is asked of anybody.
2. Slowed: the call waits, twice as long as the one before, before it holds anything. Few wait at once, others are
   refused.
3. Paused: the call is refused, with what was seen and the link by which a person releases it. What happened is
   journalled; the writer makes a row of it, and the row comes to all gateways with their configuration.
4. `ended`: what the call cost.
5. Beside the calls, once a second: what looks like a runaway (`llmobs.brake.watch`) is shared with the other gateways
   (`llmobs.brake.board`), and what they saw of it comes back.

Fails open: the brake stops runaways, budgets stop spending. Without Valkey and PostgreSQL each gateway acts alone.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from functools import partial
from math import ceil
from typing import Any

import msgspec

from gateway.call import Call
from gateway.counts import Counts
from gateway.errors import Refusal
from gateway.recorder import Recorder
from gateway.snapshot import Snapshot
from gateway.valkey import Away, Valkey
from llmobs.brake import board
from llmobs.brake.link import address
from llmobs.brake.memory import Memory
from llmobs.brake.pauses import Pauses
from llmobs.brake.signature import head, signature
from llmobs.brake.subject import SESSION, Subject, factor_of, subject_of
from llmobs.brake.track import FIRST_MARK, SLOWS_AT, Evidence, Track, told, verdict
from llmobs.brake.watch import Suspect, Watch
from llmobs.budgets.ledger import Command
from llmobs.budgets.scripts import Script
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.ingest.entries import Braked
from llmobs.tenants.braking import DEFAULTS, LOG, PAUSE, Marks, marks
from llmobs.tenants.roster import TenantInfo

log = logging.getLogger(__name__)

SHARE = Script("brake share", board.SHARE)

BRAKED = frozenset({"chat", "responses", "messages"})  # operations that loops are made of
MOST_TRACKS = 20_000  # about 2 KB each
MOST_WAITING = 256  # calls of all sessions at once
SHARE_SECONDS = 1.0
MOST_SHARED = 200  # sessions told at once
USUAL_OVER = 16  # windows of sessions that a tenant's usual cost is the mean of, about
MOST_TOLD = 600  # characters of evidence in a message


class Braking(msgspec.Struct):
    """A call's session, for when its cost is known."""

    track: Track
    subject: Subject


class Brake:
    """The sessions of this process's calls. All on one event loop."""

    def __init__(self, owner: str, valkey: Valkey, recorder: Recorder, counts: Counts, platform_secret: str) -> None:
        self._owner = owner
        self._valkey = valkey
        self._recorder = recorder
        self._counts = counts
        self._secret = platform_secret
        self.web_url = ""  # where the release link leads
        self._watch = Watch()
        self._tracks = Memory(MOST_TRACKS, self._watch.discard)
        self._marks: dict[int, tuple[TenantInfo, Marks]] = {}
        self._usual: dict[int, int] = {}  # nano-USD of a session in a window, by tenant
        self._pauses = Pauses([])
        self.waiting = 0

    # ------------------------------------------------------------ in the call's way

    def look(self, call: Call, tenant: TenantInfo, snapshot: Snapshot) -> Awaitable[None] | None:
        """Note the call; gives what it has to wait for, if it is slowed. Raises Refusal where the session is paused."""
        if call.dialect.serves not in BRAKED:
            return None
        if snapshot.pauses is not self._pauses:
            self._follow(snapshot.pauses, call.started_ns / NS_PER_SECOND)
        who, body, now_s = call.attribution, call.body, call.started_ns / NS_PER_SECOND
        subject = subject_of(tenant.id, who, 0 if who.session_id else head(body))
        limits, track = self._marks_of(tenant), self._tracks.called(subject)
        call.braking = Braking(track, subject)
        if track.pause_id or self._pauses.open:
            self._check(call, track, subject, tenant, now_s)
        self._roll(tenant.id, track, now_s, limits)
        track.called(signature(body, subject.kind == SESSION), len(body), now_s, limits)
        factor = factor_of(subject.kind, limits)
        found = track.evidence(now_s, limits, factor, self._usual.get(tenant.id, 0))
        if found.score_permille < FIRST_MARK * 1000 and not track.state:
            return None
        self._watch.called(Suspect(subject, limits.window_seconds, now_s))
        return self._act(call, tenant, track, subject, found, verdict(found, limits, factor))

    def ended(self, call: Call) -> None:
        """What the call cost. Never raises."""
        cost = call.cost_nanousd
        if cost:
            call.braking.track.now.cost_nanousd += cost

    def _marks_of(self, tenant: TenantInfo) -> Marks:
        known = self._marks.get(tenant.id)
        if known is None or known[0] is not tenant:
            try:
                found = marks(tenant.brake_marks)
            except ValueError:  # written past the checks, by SQL
                found = DEFAULTS
            known = self._marks[tenant.id] = tenant, found
        return known[1]

    def _roll(self, tenant_id: int, track: Track, now_s: float, limits: Marks) -> None:
        before, cost = track.bucket, track.now.cost_nanousd if track.is_usual else 0
        track.roll(now_s, limits)
        if before and track.bucket != before and cost:
            usual = self._usual.get(tenant_id, cost)
            self._usual[tenant_id] = usual + (cost - usual) // USUAL_OVER

    def _act(
        self, call: Call, tenant: TenantInfo, track: Track, subject: Subject, found: Evidence, wanted: str
    ) -> Awaitable[None] | None:
        if not wanted:
            if found.score_permille < SLOWS_AT * 500 and track.state:
                track.state, track.pause_id, track.delays = "", "", 0
            return None
        limits = self._marks_of(tenant)
        if tenant.brake == LOG:
            if wanted == "paused":
                self._tell(call, track, subject, found, "noted", 0)
            return None
        if wanted == "paused" and tenant.brake == PAUSE:
            until_s = call.started_ns / NS_PER_SECOND + limits.pause_hours * 3600
            self._tell(call, track, subject, found, "paused", until_s)
            raise self._paused(subject, board.Pause(track.pause_id, int(until_s), track.told))
        self._tell(call, track, subject, found, "slowed", 0)
        return self._delayed(call, tenant, track, subject, limits)

    def _tell(self, call: Call, track: Track, subject: Subject, found: Evidence, state: str, until_s: float) -> None:
        """Journal a new state of the session, once."""
        if track.state == state:
            return
        if not track.pause_id:
            track.pause_id = call.span_id.hex()
        track.state, track.paused_until_s, track.told = state, until_s, told(found)
        self._counts.braked[subject.kind, state] += 1
        self._recorder.braked(
            Braked(
                id=track.pause_id,
                trace_id=call.trace_id,
                tenant_id=subject.tenant_id,
                attribution=call.attribution,
                mark=subject.mark,
                kind=subject.kind,
                model=call.asked.model if call.asked is not None else "",
                state=state,
                at_ns=call.started_ns,
                until_ns=int(until_s * NS_PER_SECOND),
                told=track.told,
                evidence=dict(zip(Evidence.__struct_fields__, msgspec.structs.astuple(found), strict=True)),
            )
        )

    # ------------------------------------------------------------ slowed

    def _delayed(
        self, call: Call, tenant: TenantInfo, track: Track, subject: Subject, limits: Marks
    ) -> Awaitable[None]:
        delay_ms = min(limits.most_delay_ms, limits.first_delay_ms << min(track.delays, 16))
        track.delays += 1
        if track.waiting >= limits.most_waiting or self.waiting >= MOST_WAITING:
            seconds = ceil(delay_ms / 1000)
            raise Refusal(
                "runaway_slowed",
                f"the runaway brake slows {subject.words} down ({track.told}), and {track.waiting} of its calls wait "
                f"already (most {limits.most_waiting}): try again in {seconds} s",
                {"waiting": track.waiting, "most_waiting": limits.most_waiting, "retry_after_seconds": seconds},
                [(b"retry-after", b"%d" % seconds)],
            )
        return self._wait(call, tenant, track, subject, delay_ms / 1000)

    async def _wait(self, call: Call, tenant: TenantInfo, track: Track, subject: Subject, seconds: float) -> None:
        track.waiting += 1
        self.waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            track.waiting -= 1
            self.waiting -= 1
        if call.door.is_gone:
            call.is_client_gone = True
            raise Refusal("client_gone", "the caller left while the runaway brake had it wait")
        self._check(call, track, subject, tenant, time.time())  # it may be paused by now

    # ------------------------------------------------------------ paused

    def _check(self, call: Call, track: Track, subject: Subject, tenant: TenantInfo, now_s: float) -> None:
        """Refuse where the session is paused, whichever gateway did it. Raises Refusal."""
        if tenant.brake != PAUSE:
            return
        if track.state == "paused" and now_s < track.paused_until_s:
            raise self._paused(subject, board.Pause(track.pause_id, int(track.paused_until_s), track.told))
        if track.state == "paused":
            track.begin_anew()
        known = self._pauses.open.get((subject.tenant_id, subject.mark)) if self._pauses.open else None
        if known is not None and now_s * NS_PER_SECOND < known.until_ns:
            raise self._paused(subject, board.Pause(known.id, known.until_ns // NS_PER_SECOND, known.told))

    def _paused(self, subject: Subject, pause: board.Pause) -> Refusal:
        until = utc_from_ns(pause.until_s * NS_PER_SECOND)
        link = address(self.web_url, pause.id, self._secret)
        return Refusal(
            "runaway_paused",
            f"{subject.words} is paused by the runaway brake until {until:%Y-%m-%d %H:%M} UTC: "
            f"{pause.told[:MOST_TOLD]}. A member of the tenant can release it: {link}",
            {"pause": pause.id, "of": subject.kind, "seen": pause.told[:MOST_TOLD]},
        )

    def _follow(self, pauses: Pauses, now_s: float) -> None:
        """A new configuration: what people have released begins anew, and other gateways hear that nothing is left."""
        new = pauses.released.keys() - self._pauses.released.keys()
        self._pauses = pauses
        if not new:
            return
        marks_now = {(info.tenant_id, info.mark) for name, info in pauses.released.items() if name in new}
        for tenant_id in {tenant_id for tenant_id, _ in marks_now} & self._marks.keys():
            window_seconds = self._marks[tenant_id][1].window_seconds
            for subject, track in self._tracks.of_tenant(tenant_id).items():
                if (tenant_id, subject.mark) in marks_now:
                    track.begin_anew()
                    self._watch.called(Suspect(subject, window_seconds, now_s))

    # ------------------------------------------------------------ beside the calls

    async def keep(self) -> None:
        """Share what looks like a runaway, for as long as the process runs."""
        while True:
            await asyncio.sleep(SHARE_SECONDS)
            try:
                self.tick(time.time())
            except Exception:  # the task's outermost loop: a brake that fails must not end with it
                log.exception("the runaway brake cannot be shared")

    def tick(self, now_s: float) -> None:
        """Tell the board of suspects; what it says of them comes later."""
        for suspect in self._watch.turn(MOST_SHARED, now_s):
            track = self._tracks.find(suspect.subject)
            if track is not None:
                self._share(suspect.subject, track, suspect.window_seconds, now_s)

    def _share(self, subject: Subject, track: Track, window_seconds: int, now_s: float) -> None:
        pause = None
        if track.state == "paused" and now_s < track.paused_until_s:
            pause = board.Pause(track.pause_id, int(track.paused_until_s), track.told)
        words = board.share(self._owner, track.now, pause, window_seconds, now_s)
        command = Command(SHARE, [board.key(subject.tenant_id, subject.mark)], words)
        try:
            self._valkey.tell_script(command, _Heard(partial(self._heard, track, now_s)))
        except Away:
            pass

    def _heard(self, track: Track, now_s: float, reply: Any) -> None:
        if not isinstance(reply, list):
            return
        try:
            track.others, pause = board.read(reply)
        except ValueError:
            return
        if pause is None or pause.until_s <= now_s or pause.id in self._pauses.released:
            return
        if track.state != "paused":
            track.state, track.pause_id = "paused", pause.id
            track.paused_until_s, track.told = float(pause.until_s), pause.told


class _Heard:
    """Takes a reply for which nobody waits."""

    __slots__ = ("then",)

    def __init__(self, then: Any) -> None:
        self.then = then

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any, /) -> None:
        self.then(reply)

    def set_exception(self, error: Any, /) -> None: ...
