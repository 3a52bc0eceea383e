"""The proof that budgets cannot be overspent: `python -m tests.bench proof --minutes 2 --seed 1`.

1. A platform of its own with many gateways, small overlapping budgets, a simulator as the provider; hundreds of
   parallel streams that break off at random.
2. Gateways, writer, Valkey and PostgreSQL are killed (SIGKILL) at random moments of the seed, one by one and several
   within a second; the supervisor starts them again. An observer asks the ledger all the time.
3. In calms, and at the end, probes: what fits to the nano-USD is granted, one more is refused.
4. Afterwards all is compared: with the provider's bill, the budgets' spend, each refusal, and by `verify`.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import redis

from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.env import Place
from tests.bench import proof_account, proof_refusals
from tests.bench.machine import ROOT, running
from tests.bench.platform import Platform, configured, free_port
from tests.bench.proof_account import Findings
from tests.bench.proof_observer import Observer, Seen
from tests.bench.proof_plan import CYCLE_SECONDS, PROBED, Kill, configuration, environment, kills
from tests.bench.proof_probes import Probe, probe

QUIET_SECONDS = 90.0
PROBES_FROM_SECONDS = 25.0  # of a cycle: the last kill is some seconds ago
PROBES_AT_THE_END = 10


@dataclass(frozen=True)
class Trial:
    """What is to be tried."""

    seconds: float = 120.0
    seed: int = 1
    gateways: int = 8
    streams: int = 500
    tells_all: bool = False  # the time line, also where nothing failed


class Run:
    """One trial under way."""

    def __init__(self, trial: Trial, up: Platform) -> None:
        self.trial = trial
        self.up = up
        self.killed: list[tuple[float, str]] = []  # time.time, kind
        self.probes: list[Probe] = []
        self._chance = Random(trial.seed)
        self._began = time.monotonic()

    def kill_by_plan(self) -> None:
        """Until the seconds are over."""
        for kill in kills(self.trial.seconds, self.trial.seed):
            self._sleep_until(kill.at_s)
            self._kill(kill)
        self._sleep_until(self.trial.seconds)

    def _kill(self, kill: Kill) -> None:
        for kind in kill.kinds:
            pids = self.up.pids(kind)
            if pids:  # else it is dead already
                with suppress(ProcessLookupError):
                    os.kill(self._chance.choice(pids), signal.SIGKILL)
                    self.killed.append((time.time(), kind))
            time.sleep(kill.apart_s)

    def _sleep_until(self, at_s: float) -> None:
        while (left := at_s - (time.monotonic() - self._began)) > 0:
            time.sleep(min(left, 0.5))
            passed = time.monotonic() - self._began
            if passed % CYCLE_SECONDS > PROBES_FROM_SECONDS and at_s - passed > 1:
                self.probe()

    def probe(self) -> None:
        self.probes += [probe(self.up.gateway_port, tenant) for tenant in PROBED]


def prove(trial: Trial) -> Findings:
    """Try it, and say what was found."""
    found = Findings()
    with _simulator() as provider, alone(), tempfile.TemporaryDirectory(prefix="llmobs-proof-") as folder:
        file = Path(folder) / "callers.jsonl"
        with configured(configuration(provider, trial.seconds), environment(), trial.gateways) as up:
            connections = Place(up.data).connections()
            run = Run(trial, up)
            with Observer(connections.database_url, connections.valkey_url) as observer:
                with _callers(up.gateway_port, trial, file):
                    run.kill_by_plan()
                quiet_s = _wait_quiet(connections.database_url, connections.valkey_url)
                for _ in range(PROBES_AT_THE_END):
                    run.probe()
                _wait_quiet(connections.database_url, connections.valkey_url)
            _account(run, observer.seen, file, provider, found)
            found.figures["seconds until all was written"] = round(quiet_s, 1)
    return found


def _account(run: Run, seen: Seen, file: Path, provider: str, found: Findings) -> None:
    connections = Place(run.up.data).connections()
    calls = proof_account.said(file)
    _tell_run(run, seen, calls, found)
    found.expect(not seen.overspent, "settled + held ≤ limit at every observation", seen.overspent[:5])
    for each in run.probes:
        found.expect(each.is_right or not each.is_calm, "to the nano-USD: what fits is granted, one more refused", each)
    client = redis.Redis.from_url(connections.valkey_url)
    with psycopg.connect(connections.database_url, autocommit=True) as conn, client:
        proof_account.compare(conn, calls, proof_account.providers_bill(provider), found)
        proof_account.sums(conn, client, found)
        proof_refusals.check(conn, [int(at * NS_PER_SECOND) for at, _ in run.killed], found)
    verified = subprocess.run(
        [sys.executable, "manage.py", "verify", "--data", str(run.up.data)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found.expect(verified.returncode == 0, "verify finds no difference", verified.stdout + verified.stderr)
    found.figures["verify"] = verified.stdout.strip().splitlines()[-1] if verified.stdout else "no answer"
    if found.failures or run.trial.tells_all:
        began = run.killed[0][0] if run.killed else 0.0
        found.figures["kills (seconds after the first)"] = [(round(at - began, 2), kind) for at, kind in run.killed]
        found.figures["ledger away"] = [(round(a - began, 2), round(b - a, 2)) for a, b in seen.away]


def _tell_run(run: Run, seen: Seen, calls: list[proof_account.Said], found: Findings) -> None:
    calm = [each for each in run.probes if each.is_calm]
    found.figures |= {
        "seed": run.trial.seed,
        "seconds": run.trial.seconds,
        "gateways": run.trial.gateways,
        "streams": run.trial.streams,
        "calls": len(calls),
        "answers by status": dict(sorted(Counter(call.status for call in calls).items())),
        "reasons": dict(Counter(call.reason for call in calls if call.reason).most_common()),
        "broken off": dict(Counter(call.broken for call in calls if call.broken)),
        "kills": dict(Counter(kind for _, kind in run.killed)),
        "observations": seen.observations,
        "rounds of observation": seen.rounds,
        "budgets observed": len(seen.keys),
        "fullest budget": f"{seen.fullest:.4%}",
        "observations above a limit": len(seen.overspent),
        "times that the ledger was away": len(seen.away),
        "longest, seconds": round(max((to - at for at, to in seen.away), default=0.0), 2),
        "probes": f"{sum(each.is_right for each in calm)} of {len(calm)} right",
    }


def _wait_quiet(database_url: str, valkey_url: str) -> float:
    """Until the journals are written and nothing is held or pending; how long it took."""
    began = time.monotonic()
    latest = "SELECT max(waiting_spans) FROM heartbeat WHERE kind = 'writer'"
    while time.monotonic() - began < QUIET_SECONDS:
        with (
            suppress(psycopg.Error, redis.RedisError),
            redis.Redis.from_url(valkey_url) as client,
            psycopg.connect(database_url, autocommit=True) as conn,
        ):
            if conn.execute(latest).fetchone() == (0,) and not _unsettled(client):
                return time.monotonic() - began
        time.sleep(0.2)
    return float("inf")


def _unsettled(client: Any) -> int:
    hashes = [key for key in client.scan_iter("ledger:{*", count=1000) if not key.endswith(b":counted")]
    pipeline = client.pipeline(transaction=False)
    for key in hashes:
        pipeline.hmget(key, "pending", "held")
    return sum(int(amount or 0) for row in pipeline.execute() for amount in row)


@contextmanager
def _simulator() -> Iterator[str]:
    port = free_port()
    with running([sys.executable, "manage.py", "simulate", "--port", str(port)]):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _callers(port: int, trial: Trial, file: Path) -> Iterator[None]:
    words = [str(port), str(trial.streams), str(trial.seed), str(file)]
    with running([sys.executable, "-m", "tests.bench.proof_callers", *words]):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Without whatever else names stores and folders to our children."""
    others = {name: value for name, value in os.environ.items() if re.match("LLMOBS_|DATABASE_|VALKEY_|REDIS_", name)}
    for name in others:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(others)


def main(words: list[str] | None = None) -> int:
    """Prints the figures; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench proof", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gateways", type=int, default=8)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--timeline", action="store_true", help="tell when what was killed, also if nothing failed")
    options = parser.parse_args(words)
    trial = Trial(options.minutes * 60, options.seed, options.gateways, options.streams, options.timeline)
    print(f"\nproof, seed {trial.seed}: {trial.streams} streams on {trial.gateways} gateways, {trial.seconds:.0f} s")
    found = prove(trial)
    print(found)
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
