"""`manage.py simulate`: a stand-in provider for trials, tests and load."""

import argparse
import asyncio
import signal
import ssl
from pathlib import Path
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from llmobs.ops.simulator.certificate import self_signed
from llmobs.ops.simulator.faults import DEFAULT_STATUS, Faults
from llmobs.ops.simulator.running import port_of
from llmobs.ops.simulator.server import Simulator

DEFAULT_PORT = 4100


class Command(BaseCommand):
    help = "Serve a stand-in provider: OpenAI's and Anthropic's /v1 addresses, its bill at /bill."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0: a free one")
        parser.add_argument("--tls-port", type=int, help="listen here too, by TLS with a certificate of its own")
        parser.add_argument("--tls-certificate", type=Path, default=Path("simulator.pem"), help="where to write it")
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
        uvloop.run(self._serve(Simulator(faults), options))

    async def _serve(self, simulator: Simulator, options: dict[str, Any]) -> None:
        host = options["host"]
        servers = [await self._listen(simulator, host, options["port"], None)]
        url = f"http://{host}:{port_of(servers[0])}"
        told = [f"simulator answers on {url}, its bill is at {url}/bill"]
        if options["tls_port"] is not None:
            context, certificate = self_signed()
            options["tls_certificate"].write_text(certificate)
            servers.append(await self._listen(simulator, host, options["tls_port"], context))
            told.append(f"and on https://{host}:{port_of(servers[1])}; its certificate is {options['tls_certificate']}")
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.stdout.write("\n".join(told))
        self.stdout.flush()
        await stop.wait()
        for server in servers:
            server.close()

    async def _listen(self, simulator: Simulator, host: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        try:
            return await simulator.serve(host, port, tls)
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}") from None


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
