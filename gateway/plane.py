"""The data plane's parts, as stages reach them: configuration, holds, limits, cache, journal, upstream, counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.brake import Brake
from gateway.canary import Canary
from gateway.counts import Counts
from gateway.forms import Forms
from gateway.health import Health
from gateway.holds import Holds
from gateway.lanes import Lanes
from gateway.overruns import Overruns
from gateway.rates import Rates
from gateway.recorder import Recorder, unrecorded_policy
from gateway.response_cache import ResponseCache
from gateway.room import Room
from gateway.routing.strategies import Turns
from gateway.snapshot import Snapshot
from gateway.turn import Turn
from gateway.upstream import Upstream
from llmobs.ingest.journal import JournalWriter


@dataclass(slots=True)
class Plane:
    """One process's parts. `snapshot` is replaced whole; None until there is one."""

    holds: Holds
    recorder: Recorder
    reports: Lanes
    platform_secret: str
    rates: Rates
    cache: ResponseCache
    health: Health  # of providers' models
    brake: Brake
    upstream: Upstream
    counts: Counts = field(default_factory=Counts)
    snapshot: Snapshot | None = None
    turns: Turns = field(default_factory=Turns)
    canary: Canary = field(default_factory=Canary)
    forms: Forms = field(default_factory=Forms)
    overruns: Overruns = field(default_factory=Overruns)
    coming: Room = field(default_factory=Room)  # of reports' bodies

    @classmethod
    def of(
        cls, holds: Holds, journals: Sequence[JournalWriter], platform_secret: str, journal_key: bytes, turn: Turn
    ) -> "Plane":
        """`journals`: the first is the calls', reports go to all in turn."""
        counts, owner, valkey = Counts(), holds.attempts.owner, holds.valkey
        rates, cache, health = Rates(owner), ResponseCache(valkey, journal_key), Health(valkey, owner)
        recorder, upstream = Recorder(journals[0], counts, turn, unrecorded_policy()), Upstream(turn=turn)
        brake = Brake(owner, valkey, recorder, counts, platform_secret)
        return cls(holds, recorder, Lanes(journals), platform_secret, rates, cache, health, brake, upstream, counts)

    @property
    def is_ready(self) -> bool:
        """It can do its work: it knows who may call, can journal, and is not known to let budgets be passed."""
        return self.snapshot is not None and self.recorder.takes_calls and not self.canary.problem
