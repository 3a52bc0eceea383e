"""Two hosts under load: a second one joins, is killed piece by piece, then for good; another adopts its journals."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest

from llmobs.core.semconv import SOURCE_OTLP
from llmobs.ingest.entries import OtlpBody
from llmobs.ops.embedded_valkey import free_port
from tests.e2e.conftest import READY_SECONDS, ROOT, Platform, answers, wait_until
from tests.e2e.test_kill import _everything_adds_up
from tests.e2e.traffic import Traffic
from tests.ingest.making import otlp

BETWEEN = 40  # answers between one event and the next
SPANS = 20  # of a report


@pytest.fixture
def joined(platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """A second host by `up --join`: the first one's secrets and stores, a data folder of its own."""
    folder, port = tmp_path / "second", free_port()
    folder.mkdir(mode=0o700)
    shutil.copy2(platform.data / "secrets.json", folder / "secrets.json")
    stores = {"DATABASE_URL": platform.database_url, "VALKEY_URL": platform.valkey_url, "LLMOBS_HOST": "second"}
    environment = {**platform.environment, **stores}
    command = [sys.executable, "manage.py", "up", "--join", "--data", str(folder)]
    command += ["--gateway-port", str(port), "--gateway-workers", "2"]
    up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), READY_SECONDS, "the second host is ready")
        yield Platform(folder, port, 0, platform.key, platform.provider, environment)
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        up.wait(60)


class Reports:
    """An exporter that sends each request to every host until one has taken it, and the same again to all."""

    def __init__(self, hosts: list[Platform]) -> None:
        self.hosts, self.acknowledged = hosts, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_on)

    def __enter__(self) -> "Reports":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send_on(self) -> None:
        with httpx2.Client(timeout=60) as client:
            while not self._stop.is_set():
                body = otlp(count=SPANS)
                taken = [self._send(client, host, body) for host in self.hosts * 2]
                self.acknowledged += any(taken)
                self._stop.wait(0.05)

    def _send(self, client: httpx2.Client, host: Platform, body: OtlpBody) -> bool:
        headers = {"authorization": f"Bearer {host.key}", "content-type": "application/json"}
        try:
            return client.post(f"{host.gateway_url}/v1/traces", content=body.body, headers=headers).status_code == 200
        except httpx2.HTTPError:
            return False


def kill(host: Platform, *kinds: str) -> None:
    for pid in itertools.chain.from_iterable(host.pids(kind) for kind in kinds):
        os.kill(pid, signal.SIGKILL)


def end_for_good(host: Platform) -> None:
    """As a machine that loses its power: its supervisor first, so that nothing is ended in order."""
    everything = [pid for kind in ("gateway", "writer") for pid in host.pids(kind)]
    supervisors = {psutil.Process(pid).ppid() for pid in everything}
    for pid in (*supervisors, *everything):
        os.kill(pid, signal.SIGSTOP)
    for pid in (*everything, *supervisors):
        os.kill(pid, signal.SIGKILL)


def test_two_hosts_lose_nothing_and_count_nothing_twice(platform: Platform, joined: Platform) -> None:
    hosts = [platform, joined]
    with ExitStack() as running:
        reports = running.enter_context(Reports(hosts))
        here, there = [
            running.enter_context(Traffic(host.gateway_url, host.key, callers=4, seed=number))
            for number, host in enumerate(hosts, 1)
        ]
        for kinds in (("writer",), ("gateway",), ("gateway", "writer")):
            for traffic in (here, there):
                traffic.wait_answers(BETWEEN, 90)
            kill(joined, *kinds)
        there.wait_answers(BETWEEN, 90)
        kill(platform, "gateway", "writer")
        here.wait_answers(BETWEEN, 90)
        end_for_good(joined)
        here.wait_answers(BETWEEN, 90)
    told = platform.manage("hosts")
    assert "second: " in told.stdout, told.stdout + told.stderr
    with psycopg.connect(platform.database_url, autocommit=True) as conn:
        conn.execute("UPDATE heartbeat SET seen_at = now() - interval '2 min' WHERE host = 'second'")
    adopted = platform.manage("hosts", "adopt", str(joined.data))
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    there.outcomes.answered += here.outcomes.answered
    _everything_adds_up(platform, there)
    with psycopg.connect(platform.database_url, autocommit=True) as conn:
        rows = conn.execute(
            "SELECT count(*), count(DISTINCT (trace_id, span_id)), count(*) FILTER (WHERE is_counted) FROM span "
            "WHERE source = %s",
            (SOURCE_OTLP,),
        ).fetchone()
    assert rows is not None
    assert rows[0] == rows[1] == rows[2]
    assert rows[0] >= reports.acknowledged * SPANS
