"""All benchmarks, one after the other: `make bench`; or those that are named: `python -m tests.bench forecast`."""

import os
import platform
import sys

from tests.bench import forecast, gateway, ingest

BENCHMARKS = {"gateway": gateway.main, "ingest": ingest.main, "forecast": forecast.main}

print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
for name in sys.argv[1:] or BENCHMARKS:
    BENCHMARKS[name]()
