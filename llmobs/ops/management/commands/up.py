"""`up`: run the platform until Ctrl-C."""

import logging
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from llmobs.core.env import EnvError, Place
from llmobs.ops.embedded_postgres import EmbeddedPostgresError
from llmobs.ops.embedded_valkey import EmbeddedValkeyError
from llmobs.ops.platform import NothingToJoin, PreparationFailed, Taken, Wishes, run

TAKEN_STATUS = 2
MOST_PROCESSES = 256
MOST_WRITERS = 2  # unless told: each takes some 80 MB, and two fill two cores


def default_writers() -> int:
    return min(MOST_WRITERS, os.cpu_count() or 1)


class Command(BaseCommand):
    help = (
        "Run gateway, writer, web, worker and beat, and PostgreSQL and Valkey unless the environment names others. "
        "Like every command it takes --data DIR (or LLMOBS_DATA); default var/."
    )
    requires_system_checks: list[str] = []  # they would ask a database that is not there yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--web-port", type=int, default=8000, help="default 8000; 0: a free one")
        parser.add_argument("--gateway-port", type=int, default=4000, help="default 4000; 0: a free one")
        parser.add_argument("--gateway-workers", type=int, default=1, help="gateway processes (default 1)")
        parser.add_argument(
            "--writers",
            type=int,
            default=default_writers(),
            help=f"writer processes, which share the journals (default {MOST_WRITERS} where there are as many cores)",
        )
        parser.add_argument(
            "--join",
            action="store_true",
            help="one more host: gateways and a writer alone (docs/hosts.md)",
        )
        parser.add_argument("--otlp-grpc", action="store_true", help="answer OTLP over gRPC too")
        parser.add_argument("--otlp-grpc-port", type=int, default=4317, help="default 4317; 0: a free one")
        parser.add_argument(
            "--otlp-grpc-state-port",
            type=int,
            default=0,
            help="of its /healthz, /readyz and /metrics on 127.0.0.1 (default 0: a free one, which is said)",
        )

    def handle(self, *, host: str, web_port: int, gateway_port: int, **options: Any) -> None:
        for option in ("gateway_workers", "writers"):
            if not 1 <= options[option] <= MOST_PROCESSES:
                sys.exit(f"llmobs: --{option.replace('_', '-')} is between 1 and {MOST_PROCESSES}")
        place = Place.from_env()
        place.make()
        _log_to_file(place)
        try:
            grpc_port = options["otlp_grpc_port"] if options["otlp_grpc"] else None
            wishes = Wishes(
                host,
                web_port,
                gateway_port,
                gateway_workers=options["gateway_workers"],
                writers=options["writers"],
                otlp_grpc_port=grpc_port,
                otlp_grpc_state_port=options["otlp_grpc_state_port"],
                join=options["join"],
            )
            run(place, wishes, self._say)
        except Taken as taken:
            self.stderr.write(f"llmobs: {taken}")
            sys.exit(TAKEN_STATUS)
        except (EnvError, EmbeddedPostgresError, EmbeddedValkeyError, NothingToJoin, PreparationFailed) as error:
            self.stderr.write(f"llmobs: {error}")
            sys.exit(1)

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def _log_to_file(place: Place) -> None:
    """The terminal gets sentences, the log its lines."""
    place.logs.mkdir(mode=0o700, exist_ok=True)
    root = logging.getLogger()
    handler = logging.FileHandler(place.logs / "up.log")
    for old in list(root.handlers):
        handler.setFormatter(old.formatter)
        root.removeHandler(old)
    root.addHandler(handler)
