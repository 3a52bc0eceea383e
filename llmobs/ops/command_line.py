"""The command line: Django's, with `--data DIR` for every command, and errors of the environment in one sentence."""

import os
import sys

from llmobs.core.env import EnvError, Place


def main() -> None:
    """Run the command that the arguments name."""
    arguments, data = take_data(sys.argv)
    if data is not None:
        os.environ["LLMOBS_DATA"] = data
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmobs.settings")
    # Only now: importing them may read the settings, and those read the folder.
    import psycopg
    import redis
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        try:
            execute_from_command_line(arguments)
        finally:
            sys.stdout.flush()
    except EnvError as error:
        sys.exit(f"llmobs: {error}")
    except (OperationalError, psycopg.OperationalError) as error:
        sys.exit(f"llmobs: {_unreachable('PostgreSQL', error)}")
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell counts it: 128 and the signal
    except BrokenPipeError:  # of `doctor | head`; what is left to print goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except redis.ConnectionError as error:
        sys.exit(f"llmobs: {_unreachable('Valkey', error)}")


def _unreachable(store: str, error: Exception) -> str:
    """Why a store does not answer: mostly because no platform runs here."""
    try:
        Place.from_env().connections()
    except EnvError as nothing_runs:
        return str(nothing_runs)
    return f"{store} cannot be reached: {str(error).splitlines()[0] if str(error) else type(error).__name__}"


def take_data(arguments: list[str]) -> tuple[list[str], str | None]:
    """The arguments without `--data DIR` (or `--data=DIR`), and DIR; the last one counts."""
    rest: list[str] = []
    data: str | None = None
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--data":
            data = next(waiting, None)
            if not data:
                sys.exit("llmobs: --data needs a folder")
        elif argument.startswith("--data="):
            data = argument.removeprefix("--data=")
        else:
            rest.append(argument)
    return rest, data
