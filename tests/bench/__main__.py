"""All benchmarks, one after the other: `make bench`; or the one that is named: `python -m tests.bench forecast`.

What follows a name is that one's own: `python -m tests.bench proof --minutes 10 --seed 2`.
"""

import os
import platform
import sys

from tests.bench import brake, forecast, gateway, ingest, proof, queries, reprice, scale

BENCHMARKS = {"gateway": gateway.main, "ingest": ingest.main, "forecast": forecast.main, "brake": brake.main}
words = sys.argv[1:]

print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
if words[:1] == ["proof"]:
    sys.exit(proof.main(words[1:]))
if words[:1] == ["reprice"]:
    sys.exit(reprice.main(words[1:]))
if words[:1] == ["queries"]:
    sys.exit(queries.main(words[1:]))
if words[:1] == ["scale"]:
    sys.exit(scale.main(words[1:]))
for name in words or BENCHMARKS:
    BENCHMARKS[name]()
if not words:
    sys.exit(proof.main([]))
