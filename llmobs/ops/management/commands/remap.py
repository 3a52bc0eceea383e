"""`manage.py remap`: read kept bodies again with today's adapters; shows the difference, and `--apply` makes it so."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from llmobs.budgets import definition
from llmobs.budgets.ledger import Fold
from llmobs.core.clock import now_ns
from llmobs.core.money import exact_usd
from llmobs.ingest.adjust_ledger import teach
from llmobs.ingest.remap import Difference, Remap
from llmobs.ingest.tasks import connect
from llmobs.ingest.translate import Config
from llmobs.pricing import book
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version

MOST_SHOWN = 50  # lines of cost; all of them with --json


class Command(BaseCommand):
    help = "Read kept bodies again with today's adapters: show what would change; --apply changes it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from", dest="since", metavar="TIME", required=True, help="received from then on, ISO 8601"
        )
        parser.add_argument("--to", dest="until", metavar="TIME", help="and before then (default: now)")
        parser.add_argument("--tenant", metavar="SLUG", help="bodies of one tenant (default: of all)")
        parser.add_argument("--apply", action="store_true", help="change it; may be killed and run again")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        with connect() as conn:
            remap = self._remap(conn, options)
            found = remap.apply(conn, _send) if options["apply"] else remap.look(conn)
            slugs = {tenant.id: tenant.slug for tenant in remap.config.roster.tenants.values()}
        told = as_json(found, slugs)
        if options["json"]:
            self.stdout.write(json.dumps(told))
        else:
            self._tell(told, options["apply"])

    def _remap(self, conn: psycopg.Connection[Any], options: dict[str, Any]) -> Remap:
        version = config_version(conn)
        config = Config.of(version, roster.load(conn), book.load(conn), definition.load(conn), settings.SECRETS)
        slug = options["tenant"]
        chosen = [tenant.id for tenant in config.roster.tenants.values() if slug in (None, tenant.slug)]
        if not chosen:
            raise CommandError(f"there is no tenant {slug!r}")
        since = _at("--from", options["since"])
        until = _at("--to", options["until"]) if options["until"] else datetime.now(UTC)
        if since >= until:
            raise CommandError("--from must be before --to")
        return Remap(config, sorted(chosen), since, until)

    def _tell(self, told: dict[str, Any], is_applied: bool) -> None:
        write = self.stdout.write
        write(
            f"{told['bodies']} bodies, {told['read']} spans read again ({told['absent']} not stored any more, "
            f"{told['unreadable']} bodies could not be read)"
        )
        write(
            f"{told['changed']} spans {'were' if is_applied else 'would be'} changed; {told['newer']} only newly marked"
        )
        for name, count in told["columns"].items():
            write(f"  {name}: {count}")
        write(f"calls that begin to count: {told['begin_to_count']}, that count no more: {told['count_no_more']}")
        write(f"cost: {told['difference_usd']} USD")
        for line in told["cost"][:MOST_SHOWN]:
            write(f"  {line['tenant']} {line['day']} {line['model']}: {line['before_usd']} -> {line['after_usd']} USD")
        if len(told["cost"]) > MOST_SHOWN:
            write(f"  … and {len(told['cost']) - MOST_SHOWN} more (--json has all)")
        if not is_applied and told["changed"] + told["newer"]:
            write("nothing is changed yet: run it again with --apply")


def as_json(found: Difference, slugs: dict[int, str]) -> dict[str, Any]:
    """The difference as it is told; money as exact decimal text."""
    names = ("bodies", "unreadable", "read", "absent", "changed", "newer", "begin_to_count", "count_no_more")
    return {
        **{name: getattr(found, name) for name in names},
        "columns": dict(sorted(found.columns.items())),
        "difference_usd": exact_usd(found.nanousd),
        "cost": [
            {"tenant": slugs.get(tenant, ""), "day": day, "model": model, "before_usd": exact_usd(before),
             "after_usd": exact_usd(after)}
            for (tenant, day, model), before, after in found.cells()
        ],
    }  # fmt: skip


def _at(name: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{name} wants a time, such as 2026-11-20T12:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _send(folds: list[Fold]) -> None:
    client = redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=10, socket_connect_timeout=2)
    with connect() as conn, client:
        teach(conn, client, folds, now_ns())
