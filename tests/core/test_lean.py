"""What gateway and writers leave out of memory. In processes of their own: it holds for all that is loaded later."""

import subprocess
import sys

import pytest

from llmobs.core.lean import UNUSED

START = """
import sys
from llmobs.core.lean import give_back, leave_out
leave_out()
give_back()
"""
LOADED = "print(*(name for name, module in sys.modules.items() if module is not None))"


def said(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["llmobs.ingest.writer", "gateway.process"])
def test_what_is_unused_is_not_loaded(module: str) -> None:
    loaded = said(f"import {module}\n{LOADED}")
    assert module in loaded
    assert [name for name in loaded if name.startswith((*UNUSED, "pygments", "django", "numpy"))] == []


def test_errors_are_logged_without_what_is_left_out() -> None:
    program = """
import structlog
from llmobs.ingest import plain_log
plain_log.set_up()
try:
    raise ValueError("held")
except ValueError:
    structlog.get_logger().exception("failed")
"""
    assert {"failed", "ValueError:", "held"} <= set(said(program))


def test_long_pieces_are_given_back_among_short_ones() -> None:
    """As bodies come and go: with glibc's own bound, what was long once is kept in holes."""
    program = """
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
kept = []
before = resident_mb()
for _ in range(3):
    long = []
    for number in range(60):
        long.append(b"x" * 500_000)
        kept.append(b"y" * 2_000)
    del long
print(resident_mb() - before < 10)
"""
    assert said(program) == ["True"] or not sys.platform.startswith("linux")
