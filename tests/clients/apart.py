"""Clients that live apart from the virtual environment, installed on first use (see .ci/clients)."""

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
INSTALLED = ROOT / ".work" / "clients"
INSTALL_SECONDS, ASK_SECONDS = 300, 120


def node(base_url: str, key: str, *asked: str) -> Any:
    """What tests/clients/node/ask.mjs prints."""
    _install("node")
    # Node finds packages beside the script that imports them.
    script = INSTALLED / "node" / "ask.mjs"
    script.write_bytes((HERE / "node" / "ask.mjs").read_bytes())
    return _ask("node", str(script), base_url, key, *asked)


def instructor(base_url: str, key: str, *asked: str) -> Any:
    """What tests/clients/instructor/ask.py prints."""
    _install("instructor")
    python = INSTALLED / "instructor" / "bin" / "python"
    return _ask(str(python), str(HERE / "instructor" / "ask.py"), base_url, key, *asked)


def curl(*arguments: str) -> str:
    """What curl prints."""
    _install("curl")
    command = ["curl", "--silent", "--show-error", "--max-time", str(ASK_SECONDS), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=ASK_SECONDS + 5).stdout


def _install(client: str) -> None:
    command = [str(ROOT / ".ci" / "clients"), client]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def _ask(*command: str) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
