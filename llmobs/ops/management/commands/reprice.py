"""`manage.py reprice`: compute bills anew by today's prices: previewed, then `--apply` it, and `--undo` that.

A run that was killed is gone on with by `--continue`, or by the workers within a minute.
"""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from llmobs.ingest.adjust_run import NotNow
from llmobs.ingest.models import APPLYING, NEW, UNDOING, Repricing
from llmobs.ingest.tasks import go_on
from llmobs.pricing.quotes import RATES
from llmobs.tenants.models import Tenant

ACTOR = "reprice"


class Command(BaseCommand):
    help = "Compute bills anew by today's prices, or by a new one: preview first, then --apply ID; --undo ID."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="bills of one tenant (default: of all)")
        parser.add_argument("--provider", action="append", default=[], help="only these providers; may be repeated")
        parser.add_argument("--model", action="append", default=[], help="only these models; may be repeated")
        parser.add_argument("--from", dest="since", metavar="TIME", help="bills of calls begun from then on, ISO 8601")
        parser.add_argument("--to", dest="until", metavar="TIME", help="and before then (default: now)")
        for rate in RATES:
            parser.add_argument(f"--{rate.replace('_', '-')}", dest=rate, help="a new price from --from on, in USD")
        parser.add_argument("--apply", type=int, metavar="ID", help="apply one that was previewed")
        parser.add_argument("--undo", type=int, metavar="ID", help="undo one that was applied")
        parser.add_argument("--continue", action="store_true", dest="go_on", help="go on with what was killed")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            for repricing in self._asked(options):
                go_on(repricing)
                self._tell(repricing, options["json"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except NotNow as busy:
            raise CommandError(str(busy)) from None

    def _asked(self, options: dict[str, Any]) -> list[Repricing]:
        if options["go_on"]:
            return list(Repricing.objects.filter(state__in=(APPLYING, UNDOING)).order_by("pk"))
        if options["apply"] is None and options["undo"] is None:
            return [self._new(options)]
        repricing = Repricing.objects.filter(pk=options["apply"] or options["undo"]).first()
        if repricing is None:
            raise CommandError("there is no such re-pricing")
        with transaction.atomic():
            if options["apply"] is not None:
                repricing.begin(ACTOR)
            else:
                repricing.begin_undoing(ACTOR)
        return [repricing]

    def _new(self, options: dict[str, Any]) -> Repricing:
        since = _at("--from", options["since"])
        until = _at("--to", options["until"]) if options["until"] else timezone.now()
        tenant = Tenant.objects.filter(slug=options["tenant"]).first() if options["tenant"] else None
        if options["tenant"] and tenant is None:
            raise CommandError(f"there is no tenant {options['tenant']!r}")
        rates = {rate: options[rate] for rate in RATES if options[rate] is not None}
        if rates and (len(options["provider"]) != 1 or len(options["model"]) != 1):
            raise CommandError("a new price is of one --provider and one --model")
        price = {
            "provider": options["provider"][0], "model": options["model"][0], "effective_from": since.isoformat(),
            **rates,
        } if rates else None  # fmt: skip
        repricing = Repricing(
            tenant=tenant, providers=[] if price else options["provider"], model_names=options["model"],
            since=since, until=until, price=price, created_by=ACTOR, state=NEW,
        )  # fmt: skip
        repricing.full_clean()
        repricing.save()
        return repricing

    def _tell(self, repricing: Repricing, as_json: bool) -> None:
        total = (repricing.preview or {}).get("total", {})
        if as_json:
            told = {"id": repricing.pk, "state": repricing.state, "preview": repricing.preview}
            self.stdout.write(json.dumps(told))
            return
        self.stdout.write(
            f"re-pricing {repricing.pk}, {repricing.state}: {total.get('bills', 0)} bills, {total.get('old_usd')} -> "
            f"{total.get('new_usd')} USD ({total.get('difference_usd')}); "
            f"{(repricing.preview or {}).get('budgets_passing', 0)} budget windows would pass their limit"
        )
        if repricing.state == "previewed":
            self.stdout.write(f"nothing is changed yet: manage.py reprice --apply {repricing.pk}")


def _at(name: str, text: str | None) -> datetime:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        raise CommandError(f"{name} wants a time, such as 2026-11-20T12:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
