"""The demo's processes: the platform as `up` runs it, the simulator, and single commands."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_SECONDS = 90.0
STOP_SECONDS = 60.0
MOST_LINES_KEPT = 200


class ChildError(Exception):
    """A process did not start or a command failed; the message says what it said."""


class Child:
    """A process of ours that runs until we end it; what it says is kept, its newest lines."""

    def __init__(self, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        # A session of its own: Ctrl-C reaches us alone, and we end our processes in order.
        self._process = subprocess.Popen(  # noqa: S603
            _command(arguments),
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._new: queue.Queue[str] = queue.Queue(MOST_LINES_KEPT)
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, words: str, seconds: float = START_SECONDS) -> str:
        """The first line that holds `words`. Raises ChildError when it ends or says nothing of the kind."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                line = self._new.get(timeout=0.2)
            except queue.Empty:
                if not self.is_running and self._new.empty():
                    break
                continue
            if words in line:
                return line
        raise ChildError(f"{self.name} did not start:\n" + "\n".join(self._lines[-20:]))

    def stop(self) -> None:
        """End it cleanly; by force when it does not end."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines = [*self._lines[1 - MOST_LINES_KEPT :], line.rstrip()]
            try:
                self._new.put_nowait(line.rstrip())
            except queue.Full:  # nobody waits for a line any more
                pass


def run_command(arguments: Sequence[str], env: Mapping[str, str], good: tuple[int, ...] = (0,)) -> str:
    """Run one of our commands to its end; what it printed. Raises ChildError."""
    done = subprocess.run(  # noqa: S603
        _command(arguments), env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode not in good:
        raise ChildError(f"`{arguments[0]}` failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def get_json(url: str, seconds: float = 30.0) -> dict[str, Any]:
    """A JSON object from one of our own addresses. Raises ChildError."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310 - our own address
            return dict(json.load(answer))
    except (OSError, ValueError) as error:
        raise ChildError(f"{url} does not answer: {error}") from None


def wait_until_ready(url: str, child: Child, seconds: float = START_SECONDS) -> None:
    """Wait until `url` answers 200. Raises ChildError."""
    until = time.monotonic() + seconds
    said = "nothing"
    while time.monotonic() < until and child.is_running:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except urllib.error.HTTPError as error:
            said = f"status {error.code}"
        except OSError as error:
            said = str(error)
        time.sleep(0.1)
    raise ChildError(f"{url} is not ready: {said}")


def _command(arguments: Sequence[str]) -> list[str]:
    manage = Path(sys.argv[0])
    # The way that we were called ourselves, be it manage.py or the installed command.
    start = [str(manage)] if manage.name == "manage.py" else ["-m", "llmobs.ops"]
    return [sys.executable, *start, *arguments]
