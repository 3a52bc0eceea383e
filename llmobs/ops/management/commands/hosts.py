"""`manage.py hosts [list|adopt|lost]`: who is there, who is silent, and what becomes of one that does not come back."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from llmobs.keeping.connecting import connect
from llmobs.ops.hosts import Host, HostError, adopt, hosts, lose

TIMEOUT_SECONDS = 5.0


class Command(BaseCommand):
    help = "List hosts; adopt the journals of one that is gone; give up one whose disk is gone too."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what")
        commands.add_parser("list", help="each host, when it was seen, what waits and what it holds (the default)")
        adopting = commands.add_parser("adopt", help="have this host write the journals of a host that is gone")
        adopting.add_argument("folder", type=Path, metavar="DIR", help="its data folder, or its journals")
        losing = commands.add_parser("lost", help="its disk is gone: give back what it held, and forget it")
        losing.add_argument("name", metavar="HOST")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            {"adopt": self._adopt, "lost": self._lose}.get(options["what"] or "", self._list)(options)
        except HostError as error:
            raise CommandError(str(error)) from None
        except redis.RedisError as error:
            raise CommandError(
                f"Valkey cannot be reached ({type(error).__name__}): what is held is not known"
            ) from None

    def _list(self, _: dict[str, Any]) -> None:
        with connect() as conn, _ledger() as client:
            found = hosts(conn, client)
        for host in found:
            self.stdout.write(_line(host))
        self.stdout.write(f"{len(found)} host{'' if len(found) == 1 else 's'}")

    def _adopt(self, options: dict[str, Any]) -> None:
        with connect() as conn:
            taken = adopt(conn, settings.PLACE, options["folder"], settings.SECRETS.journal_key)
        self.stdout.write(
            f"{len(taken)} journals taken over; this host's writer writes them, and `manage.py hosts` says what waits"
        )

    def _lose(self, options: dict[str, Any]) -> None:
        with connect() as conn, _ledger() as client:
            lost = lose(conn, client, options["name"])
        self.stdout.write(
            f"{options['name']} is forgotten: {lost.holding} calls held something and do no more, {lost.unbilled} had "
            "ended and will not be billed"
        )


def _line(host: Host) -> str:
    running = ", ".join(f"{count} {kind}" for kind, count in sorted(host.running.items())) or "silent"
    seen = f"seen {host.seen_at:%Y-%m-%d %H:%M:%S} UTC" if host.seen_at else "ended in order"
    off = f", clock {host.skew_ms:+} ms" if host.marks else ""
    return (
        f"{host.name}: {running}; {seen}{off}; {host.waiting_spans} spans wait, {host.holding} calls hold, "
        f"{host.unbilled} wait for their bill"
    )


def _ledger() -> redis.Redis:
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
