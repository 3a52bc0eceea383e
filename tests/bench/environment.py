"""Programs that ours is compared with, each in an environment of its own under `.work/bench/`: nothing of them is ours.

What an environment holds stands, pinned, in the file of its name beside this one.
"""

import subprocess
import sys
from pathlib import Path

from tests.bench.machine import WORK


def interpreter(name: str) -> Path | None:
    """The environment's Python, installed where it is not there; None, and said, where it cannot be had."""
    folder, wanted = WORK / name, Path(__file__).with_name(f"{name}.txt")
    found, stamp = folder / "bin" / "python", folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return found
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        install = [str(found), "-m", "pip", "--disable-pip-version-check", "-qq", "install", "-r", str(wanted)]
        subprocess.run(install, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        print(f"{name} cannot be installed here ({error.stderr.decode()[-200:].strip()}): no ratios to it")
        return None
    stamp.write_text(wanted.read_text())
    return found
