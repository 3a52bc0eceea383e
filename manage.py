#!/usr/bin/env python
"""The command line from a checkout; installed, the same commands answer to `llmobs`."""

from llmobs.ops.command_line import main

if __name__ == "__main__":
    main()
