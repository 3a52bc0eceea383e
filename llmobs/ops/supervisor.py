"""Keeps programs running: starts them, starts them again when they die, ends them in order, and says who runs.

1. `start` one program after another; `run` watches them until a stop is asked for, `stop` ends them by rank.
2. A program that ended by itself is started again after a pause that doubles while it keeps dying.
3. Every start and end replaces run.json in one step, so that a reader sees true pids.
4. Should we be killed, the kernel tells our children; whoever outlives us is ended by the next `end_orphans`.

One thread, no more: Linux ties a child's death signal to the thread that started it.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import psutil
import structlog

from llmobs.core.env import Place, replace_file
from llmobs.ops.child import spawn
from llmobs.ops.processes import MARK, Program

log = structlog.get_logger()

KINDS = ("gateway", "writer", "web", "worker", "beat", "postgres", "valkey")
LOOK_SECONDS = 0.1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
STEADY_SECONDS = 5.0  # who lived this long has started well: its next death is a first one, and calls wait for it
ORPHAN_SECONDS = 15.0
HURRY_SECONDS = 1.0  # one Ctrl-C may arrive twice, from the terminal and from `make`
MOST_LOG_BYTES = 64 * 1024 * 1024  # of one file at a start, which then becomes NAME.log.1


@dataclass
class Running:
    """A program and its process, if it has one now."""

    program: Program
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # monotonic
    pause_seconds: float = FIRST_PAUSE_SECONDS
    start_again_at: float = 0.0


class Supervisor:
    """The children of one data folder."""

    def __init__(self, place: Place, env: Mapping[str, str], say: Callable[[str], None] = print) -> None:
        self.place = place
        self.env = dict(env)
        self._say = say
        self.running: list[Running] = []
        self.is_stopping = False
        self.is_hurried = False
        self.asked_at = 0.0  # monotonic
        self.is_run_file_old = False  # a full disk did not take it

    def say(self, sentence: str) -> None:
        """Tell whoever started us, if they still listen: a terminal that has gone, a full disk, ends nothing."""
        try:
            self._say(sentence)
        except OSError:
            pass

    def take_signals(self) -> None:
        """SIGTERM and Ctrl-C ask for a clean end; a second Ctrl-C, seconds later, kills."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.is_stopping:
            self.is_stopping, self.asked_at = True, now
        elif number == signal.SIGINT and now - self.asked_at > HURRY_SECONDS:
            self.is_hurried = True

    def start(self, program: Program) -> subprocess.Popen[bytes]:
        """Start a program and keep it running from now on."""
        running = Running(program)
        self.running.append(running)
        return self._start(running)

    def log_file(self, program: Program) -> Path:
        return self.place.logs / f"{program.name}.log"

    def run(self) -> None:
        """Watch until a stop is asked for."""
        while not self.is_stopping:
            self.look()
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Take note of who has ended, and start again whose pause is over."""
        now = time.monotonic()
        for running in self.running:
            if running.child is not None and running.child.poll() is not None:
                self._note_end(running, now)
            if running.child is None and now >= running.start_again_at and not self.is_stopping:
                self._start_again(running, now)
        if self.is_run_file_old:
            self._keep_run_file()

    def stop(self) -> None:
        """End everything, rank by rank; kills who does not end in its time."""
        self.is_stopping = True
        by_rank = sorted(self.running, key=lambda running: running.program.stop_rank)
        for _, rank in groupby(by_rank, key=lambda running: running.program.stop_rank):
            self._end([running for running in rank if running.child is not None])
        self.place.run_file.unlink(missing_ok=True)
        self.place.connections_file.unlink(missing_ok=True)

    def _start(self, running: Running) -> subprocess.Popen[bytes]:
        program = running.program
        if program.prepare is not None:
            program.prepare()
        path = self.log_file(program)
        if path.exists() and path.stat().st_size > MOST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        running.child = spawn(
            program.command(),
            path,
            env={**self.env, **program.env},
            pass_fds=program.pass_fds,
            death_signal=program.stop_signal,
        )
        running.started_at = time.monotonic()
        log.info("started", program=program.name, pid=running.child.pid)
        self._keep_run_file()
        return running.child

    def _start_again(self, running: Running, now: float) -> None:
        try:
            self._start(running)
        except Exception as error:  # a store that cannot be prepared now may be later: the others must go on
            self.say(f"{running.program.name} cannot be started: {error}")
            log.warning("start failed", program=running.program.name, error=str(error))
            self._pause(running, now)

    def _note_end(self, running: Running, now: float) -> None:
        assert running.child is not None
        pid, status = running.child.pid, running.child.returncode
        _end_group(pid)
        running.child = None
        self._keep_run_file()
        if now - running.started_at > STEADY_SECONDS:
            running.pause_seconds = FIRST_PAUSE_SECONDS
        log.warning("ended", program=running.program.name, pid=pid, status=status)
        self.say(
            f"{running.program.name} {_fate(status)}; it is started again in {running.pause_seconds:.1f} s "
            f"(log: {self.log_file(running.program)})"
        )
        self._pause(running, now)

    def _pause(self, running: Running, now: float) -> None:
        running.start_again_at = now + running.pause_seconds
        running.pause_seconds = min(running.pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _end(self, rank: Sequence[Running]) -> None:
        for running in rank:
            assert running.child is not None
            running.child.send_signal(running.program.stop_signal)
        for running in rank:
            assert running.child is not None
            self._await_end(running.child, running.program)
            log.info("stopped", program=running.program.name, status=running.child.returncode)
            running.child = None
            self._keep_run_file()

    def _await_end(self, child: subprocess.Popen[bytes], program: Program) -> None:
        deadline = time.monotonic() + program.stop_seconds
        while child.poll() is None and time.monotonic() < deadline and not self.is_hurried:
            time.sleep(0.02)
        if child.poll() is None:
            self.say(f"{program.name} did not end in its time and is killed")
            child.kill()
            child.wait()
        _end_group(child.pid)

    def _keep_run_file(self) -> None:
        pids: dict[str, list[int]] = {kind: [] for kind in KINDS}
        for running in self.running:
            if running.child is not None:
                pids.setdefault(running.program.kind, []).append(running.child.pid)
        try:
            replace_file(self.place.run_file, json.dumps(pids).encode())
        except OSError as error:  # the disk is full: processes matter more than the file that names them
            if not self.is_run_file_old:
                log.warning("run.json is old", error=str(error))
            self.is_run_file_old = True
        else:
            self.is_run_file_old = False


def end_orphans(place: Place) -> list[int]:
    """End what a killed `up` left on this folder; returns their pids. Only for who holds the folder's lock.

    PostgreSQL is left to `EmbeddedPostgres.prepare`, which ends it gently.
    """
    orphans = [process for process in psutil.process_iter(["name"]) if _is_orphan(process, place)]
    for process in orphans:
        _send(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(orphans, timeout=ORPHAN_SECONDS)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    return [process.pid for process in orphans]


def _is_orphan(process: psutil.Process, place: Place) -> bool:
    try:
        if process.pid == os.getpid() or process.info["name"] == "postgres":
            return False
        return bool(process.environ().get(MARK) == str(place.folder))
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def _end_group(pid: int) -> None:
    """End what a dead child has left in its session (the worker's own children)."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _fate(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
