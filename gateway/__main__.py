"""`python -m gateway --fd N --owner NAME`: one gateway's process, with no more in memory than it needs."""

import sys

from llmobs.core.lean import keep_freed, leave_out

if __name__ == "__main__":
    leave_out()
    keep_freed()
    from gateway.process import main

    sys.exit(main())
