"""`manage.py simulate`: a stand-in provider for trials, tests and load."""

import argparse
import asyncio
import signal
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from llmobs.ops.simulator.faults import DEFAULT_STATUS, Faults
from llmobs.ops.simulator.server import Simulator

DEFAULT_PORT = 4100


class Command(BaseCommand):
    help = "Serve a stand-in provider: OpenAI's /v1/chat/completions, Anthropic's /v1/messages, its bill at /bill."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0: a free one")
        parser.add_argument("--fail-rate", type=_share, help="share of the calls that fail, 0 to 1")
        parser.add_argument("--status", type=_status, help="status of failing calls; without --fail-rate all fail")
        parser.add_argument("--slow-ms", type=int, default=0, help="wait before each answer")
        parser.add_argument("--chunk-ms", type=int, default=0, help="wait after each chunk of a stream")
        parser.add_argument("--cut-streams", action="store_true", help="break streams off half way")

    def handle(self, *args: Any, **options: Any) -> None:
        fail_rate, status = options["fail_rate"], options["status"]
        if fail_rate is None:
            fail_rate = 0.0 if status is None else 1.0
        faults = Faults(
            fail_rate=fail_rate,
            status=status or DEFAULT_STATUS,
            slow_ms=options["slow_ms"],
            chunk_ms=options["chunk_ms"],
            cut=options["cut_streams"],
        )
        uvloop.run(self._serve(Simulator(faults), options["host"], options["port"]))

    async def _serve(self, simulator: Simulator, host: str, port: int) -> None:
        try:
            server = await simulator.serve(host, port)
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        bound = server.sockets[0].getsockname()[1]
        self.stdout.write(f"simulator answers on http://{host}:{bound}, its bill is at http://{host}:{bound}/bill")
        self.stdout.flush()
        await stop.wait()
        server.close()


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def _status(text: str) -> int:
    status = int(text)
    if not 400 <= status <= 599:
        raise argparse.ArgumentTypeError(f"{text} is not an error's status (400 to 599)")
    return status
