"""The fault table: `python -m tests.bench faults [--minutes N] [--seed S] [--only PART]`.

1. A platform of its own with two gateways, the gRPC door and a simulator as the provider; exporters over HTTP and gRPC
   that send again until they are answered, and callers with OpenAI's SDK.
2. Row by row something is killed at a moment, held, or its disk filled, while the load goes on.
3. When the load has ended: every span that was acknowledged is there exactly once, every response has one bill, nothing
   is a dead letter; how long that took, and the most memory meanwhile.
4. After the last row of a platform `verify` recomputes everything, of all its rows, and finds no difference.
Disks are small ones (tmpfs, so it needs to be root) that a file of ballast fills.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from random import Random

from tests.bench.faults_account import Memory, Stored, drained, stored
from tests.bench.faults_conditions import CONDITIONS
from tests.bench.faults_load import Running, Said
from tests.bench.faults_moments import MOMENTS, NotHit
from tests.bench.faults_plan import Row, rows
from tests.bench.faults_platform import Up, platform
from tests.bench.machine import running
from tests.bench.platform import free_port
from tests.bench.proof import alone

AWAY_SECONDS = 20.0
BEFORE_SECONDS, AFTER_SECONDS = 1.5, 2.0
JOURNAL_MB, SMALL_JOURNAL_MB = 2048, 16
DISK_MB, JOURNAL_DISK_MB, POSTGRES_DISK_MB = 256, 96, 1200


@dataclass(frozen=True)
class Done:
    """One row that was tried."""

    row: Row
    before: tuple[int, int]  # acknowledged, found, at the moment of the fault
    said: Said
    after: Stored
    dead_letters: int  # that came with it
    drain_seconds: float
    memory: dict[str, float]
    verify: str  # its differences, where it ran
    not_hit: str = ""

    @property
    def failures(self) -> list[str]:
        """What is broken of what is promised."""
        after, said = self.after, self.said
        found = {
            "the moment was not hit": self.not_hit,
            "lost": said.spans - after.found,
            "twice": after.twice,
            "unbilled": after.unbilled,
            "billed twice": after.billed_twice,
            "dead letters": self.dead_letters,
            "given up": said.given_up,
            "wrong answers": dict(said.wrong),
            "failed inside": said.failed["internal"],
            "verify": self.verify,
        }
        return [f"{name}: {value}" for name, value in found.items() if value]

    def line(self) -> str:
        """As a row of the table in docs/durability.md."""
        said, after = self.said, self.after
        failed = ", ".join(f"{count} {what}" for what, count in said.failed.most_common()) or "none"
        cells = [
            self.row.fault, self.row.moment, self.row.load.name, f"{self.before[0]:,} / {self.before[1]:,}",
            f"{said.spans:,} / {after.found:,}", str(said.spans - after.found), str(after.twice),
            f"{len(said.responses):,} / {after.unbilled + after.billed_twice}", f"{said.answered:,}", failed,
            str(sum(said.put_off.values())), "/".join(f"{mb:.0f}" for mb in self.memory.values()),
            f"{self.drain_seconds:.1f}",
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"


HEAD = """\
| fault | moment | load | at the fault: acknowledged / stored | at the end: acknowledged / stored | lost | twice | \
responses / not billed once | calls answered | calls failed | requests put off | MB gateway/collector/writer | \
drained after s |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | --- | ---: |"""


def try_row(row: Row, up: Up, seed: int, away_seconds: float = AWAY_SECONDS, verifies: bool = True) -> Done:
    """Try it on a platform that runs and is quiet."""
    chance = Random(seed)
    letters_before = stored(up, Said()).dead_letters
    not_hit = ""
    with Memory(up) as memory:
        with Running(row.load, up.gateway_port, up.grpc_port, seed) as load:
            _wait_first(load.said)
            before = load.said.spans, stored(up, load.said).found
            try:
                _strike(row, up, load.said, chance, away_seconds)
            except NotHit as reason:
                not_hit = str(reason)
            if not up.is_running():
                up.start()
            time.sleep(AFTER_SECONDS)
        after, seconds = drained(up, load.said)
    up.wait_ready()
    letters = after.dead_letters - letters_before
    differences = up.verify() if verifies else ""
    return Done(row, before, load.said, after, letters, seconds, memory.most_mb, differences, not_hit)


def _wait_first(said: Said, seconds: float = 60.0) -> None:
    """Until something was acknowledged and answered: the platform works."""
    until = time.monotonic() + seconds
    time.sleep(BEFORE_SECONDS)
    while not (said.spans and said.answered) and time.monotonic() < until:
        time.sleep(0.1)


def _strike(row: Row, up: Up, said: Said, chance: Random, away_seconds: float) -> None:
    if row.kinds:
        MOMENTS[row.moment](up, row.kinds, said, chance)
    else:
        CONDITIONS[row.fault](up, said, chance, away_seconds)


def table(chosen: list[Row], seed: int, away_seconds: float) -> Iterator[Done]:
    """Row by row; those of one kind of platform share it."""
    with simulator() as provider, alone():
        for (needs_disk, is_small), group in groupby(chosen, key=_platform_of):
            with _on(provider, needs_disk, SMALL_JOURNAL_MB if is_small else JOURNAL_MB) as up:
                of_platform = list(group)
                for row in of_platform:
                    yield try_row(row, up, _seed_of(row, seed), away_seconds, verifies=row is of_platform[-1])


def _platform_of(row: Row) -> tuple[bool, bool]:
    return row.needs_disk, row.fault == "journal at its bound"


def _seed_of(row: Row, seed: int) -> int:
    """A row's own, so that one row alone does what it does in the table."""
    return seed * 1000 + rows().index(row)


@contextmanager
def _on(provider: str, needs_disk: bool, journal_mb: int) -> Iterator[Up]:
    with platform(provider, {"LLMOBS_JOURNAL_MB": str(journal_mb)}, disks(needs_disk)) as up:
        yield up


def disks(needs_disk: bool) -> dict[str, int]:
    """Disks of their own, by what lies on them; megabytes."""
    return {"": DISK_MB, "journal": JOURNAL_DISK_MB, "postgres": POSTGRES_DISK_MB} if needs_disk else {}


@contextmanager
def simulator() -> Iterator[str]:
    port = free_port()
    with running([sys.executable, "manage.py", "simulate", "--port", str(port)]):
        yield f"http://127.0.0.1:{port}"


def main(words: list[str] | None = None) -> int:
    """Prints the table; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=AWAY_SECONDS / 60, help="how long PostgreSQL is away")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose name (fault / moment / load) has this in it")
    parser.add_argument("--list", action="store_true", help="the rows' names alone")
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is ended
    chosen = [row for row in rows() if options.only in row.name]
    if options.list:
        print("\n".join(row.name for row in chosen))
        return 0
    print(f"\nfaults, seed {options.seed}, PostgreSQL away for {options.minutes:g} min\n{HEAD}", flush=True)
    broken: list[str] = []
    for done in table(chosen, options.seed, options.minutes * 60):
        print(done.line(), flush=True)
        broken += [f"{done.row.name}: {failure}" for failure in done.failures]
        for failure in done.failures:
            print(f"  broken: {failure}", flush=True)
    print(f"\n{len(chosen)} rows, {len(broken)} broken promises")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
