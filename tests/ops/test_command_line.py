"""The command line says what it can do."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = {"up", "apply", "createkey", "doctor", "verify", "simulate", "demo"}


def test_help_names_every_command() -> None:
    said = subprocess.run(
        [sys.executable, "manage.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert set(said.stdout.split()) >= COMMANDS
