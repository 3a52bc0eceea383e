"""The summary of a run: as tables for people, as one JSON object for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from llmobs.core.money import exact_usd
from llmobs.ops.demo.checks import Check


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of the live run alone; the exports' cost stands apart. `provider_bill_usd` None: real providers."""

    requests: int
    refused: int
    spans: int
    cost_by_tenant: dict[str, int]
    provider_bill_usd: str | None
    otlp_cost_nanousd: int
    p95_ms: Decimal
    budgets_stopped: int
    judged: int
    otlp_cases: int
    verify_differences: int
    dashboard_url: str
    seconds: Decimal

    @property
    def cost_nanousd(self) -> int:
        return sum(self.cost_by_tenant.values())

    def as_json(self) -> str:
        """One line."""
        return json.dumps(
            {
                "requests": self.requests,
                "refused": self.refused,
                "spans": self.spans,
                "cost_usd": exact_usd(self.cost_nanousd),
                "cost_usd_by_tenant": {t: exact_usd(cost) for t, cost in sorted(self.cost_by_tenant.items())},
                "provider_bill_usd": self.provider_bill_usd,
                "otlp_cost_usd": exact_usd(self.otlp_cost_nanousd),
                "p95_ms": float(self.p95_ms),
                "budgets_stopped": self.budgets_stopped,
                "judged": self.judged,
                "otlp_cases": self.otlp_cases,
                "verify_differences": self.verify_differences,
                "dashboard_url": self.dashboard_url,
                "seconds": float(self.seconds),
            }
        )


def show(console: Console, summary: Summary, checks: Sequence[Check]) -> None:
    """Print the figures, then the claims."""
    console.print(_figures(summary))
    console.print(_claims(checks))


def _figures(summary: Summary) -> Table:
    table = Table(title="The live run", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = [
        ("calls sent", f"{summary.requests:,}"),
        ("refused by budget", f"{summary.refused:,}"),
        ("gateway spans", f"{summary.spans:,}"),
        ("cost, USD", exact_usd(summary.cost_nanousd)),
        *((f"  {tenant}", exact_usd(cost)) for tenant, cost in sorted(summary.cost_by_tenant.items())),
        ("the simulator's own bill, USD", summary.provider_bill_usd or "none: real providers"),
        ("p95 of the served calls, ms", f"{summary.p95_ms}"),
        ("budgets stopped", f"{summary.budgets_stopped}"),
        ("answers judged", f"{summary.judged}"),
        ("OTLP exports (their cost, apart, USD)", f"{summary.otlp_cases} ({exact_usd(summary.otlp_cost_nanousd)})"),
        ("differences found by verify", f"{summary.verify_differences}"),
        ("seconds", f"{summary.seconds}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _claims(checks: Sequence[Check]) -> Table:
    table = Table(title="Does it add up?", title_justify="left")
    table.add_column("")
    table.add_column("claim")
    table.add_column("found")
    for check in checks:
        mark = "[green]yes[/green]" if check.holds else "[bold red]NO[/bold red]"
        table.add_row(mark, check.claim, check.detail)
    return table
