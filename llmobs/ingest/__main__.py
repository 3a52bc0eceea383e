"""`python -m llmobs.ingest [--number N]`: one writer's process, with no more in memory than it needs."""

import sys

from llmobs.core.lean import leave_out

if __name__ == "__main__":
    leave_out()
    from llmobs.ingest.writer import main

    sys.exit(main())
