"""All benchmarks, one after the other: `make bench`; or the one that is named: `python -m tests.bench forecast`.

What follows a name is that one's own: `python -m tests.bench proof --minutes 10 --seed 2`.
"""

import os
import platform
import sys
from collections.abc import Callable

from tests.bench import brake, faults, forecast, gateway, ingest, proof, queries, reprice, scale, stored, walls

BENCHMARKS = {"gateway": gateway.main, "ingest": ingest.main, "forecast": forecast.main, "brake": brake.main}
WITH_WORDS: dict[str, Callable[[list[str]], int | None]] = {
    "proof": proof.main,
    "faults": faults.main,
    "reprice": reprice.main,
    "queries": queries.main,
    "scale": scale.main,
    "stored": stored.main,
    "walls": walls.main,
}


def main(words: list[str]) -> int | None:
    """Run what is named, or all that need nothing more to be said."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if words and words[0] in WITH_WORDS:
        return WITH_WORDS[words[0]](words[1:])
    for name in words or BENCHMARKS:
        BENCHMARKS[name]()
    return None if words else proof.main([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
