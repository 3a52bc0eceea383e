"""What the benchmarks share: processes and their CPU and memory, cores, the compiled instruments."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work" / "bench"
INSTRUMENTS = Path(__file__).parent / "instruments"


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += descendants(int(child))
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes so far."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mb(pids: list[int], is_peak: bool = False) -> float:
    """Resident memory of these processes, MB: now, or the most it was. Shared pages count in each."""
    field = "VmHWM" if is_peak else "VmRSS"
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
    return total / 1024


def wait_quiet(processes: Callable[[], list[int]], seconds: float = 60) -> None:
    """Until these take less than a twentieth of a core over a second, as what has started does; says so if never."""
    until, before = time.monotonic() + seconds, cpu_seconds(processes())
    while time.monotonic() < until:
        time.sleep(1)
        now = cpu_seconds(processes())
        if 0 <= now - before < 0.05:
            return
        before = now
    print(f"  after {seconds:.0f} s what was started was still busy: figures hold less")


def pin(pids: list[int], core: int) -> None:
    """Keep all threads of these processes on one core."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            os.sched_setaffinity(int(task.name), {core})


def compiled(name: str) -> Path:
    """An instrument, compiled once; raises SystemExit with a plain sentence where there is no gcc."""
    WORK.mkdir(parents=True, exist_ok=True)
    binary = WORK / name
    source = INSTRUMENTS / f"{name}.c"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        gcc = shutil.which("gcc")
        if gcc is None:
            raise SystemExit("the benchmarks need gcc for their load generator (Debian: apt-get install gcc)")
        subprocess.run([gcc, "-O2", "-w", "-o", str(binary), str(source)], check=True)
    return binary


@contextmanager
def running(command: list[str], core: int | None = None, env: dict[str, str] | None = None) -> Iterator[int]:
    """A process for the length of the block; ended by its id."""
    process = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        if core is not None:
            pin([process.pid], core)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def manage(data: Path, *words: str) -> str:
    """Output of a management command on a data folder; raises with the command's own words when it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words, "--data", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"manage.py {words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def in_the_background(pid: int) -> None:
    """As slow as this process is: one of a session of its own has a share of its own (Linux's autogroups)."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    group = Path(f"/proc/{pid}/autogroup")
    if nice > 0 and group.exists():
        group.write_text(str(nice))
