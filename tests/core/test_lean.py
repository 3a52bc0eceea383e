"""What gateway and writers leave out of memory. In processes of their own: it holds for all that is loaded later."""

import subprocess
import sys

import pytest

from llmobs.core.lean import UNUSED

START = """
import sys
from llmobs.core.lean import leave_out
leave_out()
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


def test_what_was_freed_is_not_faulted_in_anew() -> None:
    """Megabytes that are taken and freed again and again; where the allocator is another, nothing is asked of it."""
    program = """
import platform, resource
from llmobs.core.lean import keep_freed
keep_freed()
bodies = [b"x" * 700_000 for _ in range(4)]
del bodies
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    bodies = [b"x" * 700_000 for _ in range(4)]
    del bodies
pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(platform.libc_ver()[0] != "glibc" or pages < 1_000)
"""
    assert said(program) == ["True"]
