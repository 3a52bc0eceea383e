"""`manage.py demo`: the whole platform with real traffic, from nothing, in one command."""

import argparse
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from llmobs.core.env import EnvError, Place
from llmobs.ops.demo.children import ChildError
from llmobs.ops.demo.expected import NoPriceError
from llmobs.ops.demo.posting import PostingError
from llmobs.ops.demo.run import Outcome, run
from llmobs.ops.demo.stage import Stage, Wishes
from llmobs.ops.demo.summary import show

# With real providers each call costs money: a few are enough to see it work.
LIVE_REQUESTS, LIVE_SECONDS = 50, 60.0
LIVE_VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class Command(BaseCommand):
    help = "Start everything, drive the bundled real trace through it, check that it adds up, and keep running."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        defaults = Wishes()
        parser.add_argument("--exit", action="store_true", help="end after the summary")
        parser.add_argument("--json", action="store_true", help="the summary as one JSON object on the last line")
        parser.add_argument("--live", action="store_true", help="real providers (their keys must be set; costs money)")
        parser.add_argument("--requests", type=int, metavar="N", help="only the first N of each trace")
        parser.add_argument("--seconds", type=float, help="what the trace's hour is compressed to (default 45)")
        parser.add_argument("--history", type=int, default=defaults.history_spans, help="spans of the week before")
        parser.add_argument("--web-port", type=int, default=defaults.web_port)
        parser.add_argument("--gateway-port", type=int, default=defaults.gateway_port)
        parser.add_argument("--simulator-port", type=int, default=defaults.simulator_port)

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        signal.signal(signal.SIGTERM, _interrupt)
        console = Console(stderr=options["json"])
        stage = Stage.prepare(Place.from_env(), _wishes(options))
        try:
            console.print("Starting PostgreSQL, Valkey, gateway, writer, web, worker and beat ...")
            stage.start()
            outcome = run(stage, console, started)
            self._tell(stage, console, outcome, options["json"])
            if not options["exit"]:
                self._stay(stage, console)
        except (ChildError, PostingError, NoPriceError, EnvError) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            console.print("Ending ...")
            return
        finally:
            stage.stop()
        if outcome.failed:
            sys.exit(1)

    def _tell(self, stage: Stage, console: Console, outcome: Outcome, as_json: bool) -> None:
        show(console, outcome.summary, outcome.checks)
        if outcome.failed:
            console.print(f"[bold red]It does not add up: {'; '.join(check.claim for check in outcome.failed)}[/]")
        secrets = stage.place.secrets()
        console.print(f"Dashboard: {stage.dashboard_url}  sign in as admin with the password {secrets.admin_password}")
        if as_json:
            self.stdout.write(outcome.summary.as_json())
            self.stdout.flush()

    def _stay(self, stage: Stage, console: Console) -> None:
        console.print("Everything keeps running until Ctrl-C.")
        while not stage.ended:
            time.sleep(0.5)
        raise CommandError(f"{stage.ended} has ended")


def _wishes(options: dict[str, Any]) -> Wishes:
    most, seconds = options["requests"], options["seconds"]
    if options["live"]:
        missing = [name for name in LIVE_VARIABLES if not os.environ.get(name)]
        if missing:
            raise CommandError(f"--live needs {' and '.join(missing)}")
        most = LIVE_REQUESTS if most is None else most
        seconds = LIVE_SECONDS if seconds is None else seconds
    if most is not None and most < 1:
        raise CommandError("--requests is at least 1")
    return Wishes(
        web_port=options["web_port"],
        gateway_port=options["gateway_port"],
        simulator_port=options["simulator_port"],
        is_live=options["live"],
        most=most,
        seconds=Wishes().seconds if seconds is None else seconds,
        history_spans=options["history"],
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
