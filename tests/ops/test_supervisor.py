"""The supervisor with small stand-ins for the programs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from llmobs.core.env import Place
from llmobs.ops.child import spawn
from llmobs.ops.processes import MARK, Program
from llmobs.ops.supervisor import Supervisor, end_orphans

SLEEPER = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def program(kind: str, code: str = SLEEPER, stop_rank: int = 0, stop_seconds: float = 5.0) -> Program:
    return Program(kind, f"{kind}-1", lambda: [sys.executable, "-S", "-c", code], stop_rank, stop_seconds=stop_seconds)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "data")
    place.make()
    place.logs.mkdir()
    return place


@pytest.fixture
def supervisor(place: Place) -> Iterator[Supervisor]:
    said: list[str] = []
    supervisor = Supervisor(place, {**os.environ, MARK: str(place.folder)}, said.append)
    yield supervisor
    supervisor.is_hurried = True
    supervisor.stop()


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        os.sched_yield()


def pids(place: Place) -> dict[str, list[int]]:
    found: dict[str, list[int]] = json.loads(place.run_file.read_bytes())
    return found


def test_run_file_names_each_kind_and_its_living_pids(supervisor: Supervisor, place: Place) -> None:
    child = supervisor.start(program("web"))
    assert pids(place) == {
        "gateway": [], "writer": [], "web": [child.pid], "worker": [], "beat": [], "postgres": [], "valkey": []
    }  # fmt: skip


def test_a_killed_child_is_started_again_under_a_new_pid(supervisor: Supervisor, place: Place) -> None:
    child = supervisor.start(program("web"))
    child.kill()

    def is_back() -> bool:
        supervisor.look()
        return pids(place)["web"] not in ([], [child.pid])

    until(is_back)


def test_a_child_that_keeps_dying_is_started_ever_more_slowly(supervisor: Supervisor) -> None:
    supervisor.start(program("web", "raise SystemExit(3)"))
    running = supervisor.running[0]
    pauses: list[float] = []
    while len(pauses) < 3:
        before = running.pause_seconds
        supervisor.look()
        if running.pause_seconds != before:
            pauses.append(running.pause_seconds)
    assert pauses == [0.2, 0.4, 0.8]


def test_programs_end_in_the_order_of_their_ranks(supervisor: Supervisor, place: Place, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    for rank, kind in ((2, "postgres"), (0, "worker"), (1, "gateway")):
        code = (
            "import signal, sys, time\n"
            f"def end(*_): open({str(diary)!r}, 'a').write({kind + ' '!r}); sys.exit()\n"
            "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
        )
        one = program(kind, code, rank)
        supervisor.start(one)
        until(lambda one=one: "ready" in supervisor.log_file(one).read_text())  # type: ignore[misc]
    supervisor.stop()
    assert diary.read_text().split() == ["worker", "gateway", "postgres"]
    assert not place.run_file.exists()


def test_who_does_not_end_in_its_time_is_killed(supervisor: Supervisor) -> None:
    deaf = program("web", DEAF, stop_seconds=0.05)
    child = supervisor.start(deaf)
    until(lambda: "deaf" in supervisor.log_file(deaf).read_text())
    supervisor.stop()
    assert child.returncode == -signal.SIGKILL


def test_what_a_killed_supervisor_left_behind_is_ended_and_no_one_else(place: Place, tmp_path: Path) -> None:
    ours = spawn([sys.executable, "-S", "-c", SLEEPER], tmp_path / "log", env={MARK: str(place.folder)})
    stranger = spawn([sys.executable, "-S", "-c", SLEEPER], tmp_path / "log", env={MARK: str(tmp_path / "other")})
    try:
        assert end_orphans(place) == [ours.pid]
        assert stranger.poll() is None
    finally:
        for child in (ours, stranger):
            child.kill()
            child.wait()


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent_code = (
        "import sys, time; from pathlib import Path; from llmobs.ops.child import spawn\n"
        f"print(spawn([sys.executable, '-S', '-c', {SLEEPER!r}], Path({str(tmp_path / 'log')!r})).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_full_disk_ends_nothing_and_run_file_follows_when_there_is_room(
    supervisor: Supervisor, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither run.json nor whoever reads our sentences is worth the platform."""
    first = supervisor.start(program("web"))

    def is_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("llmobs.ops.supervisor.replace_file", is_full)
        full.setattr(supervisor, "_say", is_full)
        first.kill()
        first.wait()
        supervisor.look()
        supervisor.running[0].start_again_at = 0.0
        supervisor.look()
    second = supervisor.running[0].child
    assert second is not None
    assert pids(place)["web"] == [first.pid]
    supervisor.look()
    assert pids(place)["web"] == [second.pid]
