"""`python -m llmobs.ops COMMAND`: the command line, wherever the package is."""

from llmobs.ops.command_line import main

main()
