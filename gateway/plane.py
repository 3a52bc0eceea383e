"""The data plane's parts, as every stage reaches them: configuration, holds, limits, journal, upstream, counts."""

from dataclasses import dataclass, field

from gateway.counts import Counts
from gateway.holds import Holds
from gateway.rates import Rates
from gateway.recorder import Recorder
from gateway.snapshot import Snapshot
from gateway.upstream import Upstream
from llmobs.ingest.journal import JournalWriter


@dataclass(slots=True)
class Plane:
    """One process's parts. `snapshot` is replaced whole; None until there is one."""

    holds: Holds
    recorder: Recorder
    platform_secret: str
    rates: Rates
    upstream: Upstream = field(default_factory=Upstream)
    counts: Counts = field(default_factory=Counts)
    snapshot: Snapshot | None = None

    @classmethod
    def of(cls, holds: Holds, journal: JournalWriter, platform_secret: str) -> "Plane":
        counts = Counts()
        return cls(holds, Recorder(journal, counts), platform_secret, Rates(holds.attempts.owner), counts=counts)

    @property
    def is_ready(self) -> bool:
        """It can do its work: it knows who may call, and can journal."""
        return self.snapshot is not None and self.recorder.is_writable
