"""Resident memory of each process of a running platform: `python -m tests.bench.memory DATA_FOLDER`."""

import json
import sys
from pathlib import Path

from tests.bench.machine import resident_mb


def table(data: Path) -> dict[str, float]:
    """MB by process kind (children of a pid in run.json are named there too)."""
    return {kind: resident_mb(pids) for kind, pids in json.loads((data / "run.json").read_text()).items()}


def main(data: Path) -> None:
    for kind, megabytes in table(data).items():
        print(f"  {kind:10} {megabytes:8.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
