"""All benchmarks, one after the other: `make bench`."""

import os
import platform

from tests.bench import gateway, ingest

print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
gateway.main()
ingest.main()
