"""`doctor`: the launch checklist, for the installation and each tenant; exit status 1 if a P0 item is missing."""

import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand

from llmobs.ops.checklist import Item, State, installation, is_ready, of_tenant
from llmobs.ops.checklist_hosts import past_one_machine
from llmobs.ops.checklist_keeping import keeping
from llmobs.ops.checklist_walls import second_wall
from llmobs.tenants.models import Tenant

SIGNS = {State.SET: "●", State.MISSING: "■", State.LATER: "◇"}


class Command(BaseCommand):
    help = "Tell what is set, what is missing and how to set it, P0 to P2, per tenant."

    def handle(self, *args: Any, **options: Any) -> None:
        lists = [self._print("Installation", [*installation(), *past_one_machine(), *keeping(), second_wall()])]
        tenants = list(Tenant.objects.filter(is_active=True))
        lists += [self._print(f"Tenant {tenant.slug}", of_tenant(tenant)) for tenant in tenants]
        if not tenants:
            self.stdout.write("\nNo tenant yet: `manage.py apply FILE.yaml` makes them.")
        missing = sum(1 for items in lists for item in items if not is_ready([item]))
        if missing or not tenants:
            self.stdout.write(f"\nNot ready: {missing} P0 {'item' if missing == 1 else 'items'} missing.")
            sys.exit(1)
        self.stdout.write("\nReady: no P0 item is missing.")

    def _print(self, title: str, found: Iterable[Item]) -> list[Item]:
        items = sorted(found, key=lambda item: item.priority)
        self.stdout.write(f"\n{title}")
        for item in items:
            told = f": {item.how}" if item.how else ""
            self.stdout.write(f"  {item.priority} {SIGNS[item.state]} {item.state:<19} {item.what}{told}")
        return items
