"""docs/repricing.md names what is there: addresses, states, parameters, reasons, fields of the answers."""

from pathlib import Path

import pytest
from django.urls import resolve

from dashboards.api.explain import PARAMETERS, ExplainedShown
from dashboards.api.repricings import RepricingShown
from dashboards.queries.figure import METRICS
from dashboards.queries.timed import PERCENTILES
from llmobs.ingest.adjust_run import BILLS_PER_STRETCH
from llmobs.ingest.models import STATES
from llmobs.ingest.repricing_reasons import applied
from llmobs.ops.management.commands.reprice import Command

PAGE = (Path(__file__).parents[2] / "docs" / "repricing.md").read_text()


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_named(state: str) -> None:
    assert f"`{state}`" in PAGE


def test_what_can_be_asked_is_named() -> None:
    asked = {parameter.name for parameter in PARAMETERS} - {"tenant", "cursor", "limit", "metric"}
    assert [name for name in sorted(asked) if f"`{name}`" not in PAGE] == []
    given = {name for name, field in RepricingShown().fields.items() if not field.read_only} - {"note"}
    assert [name for name in sorted(given) if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(
    "name", ["shown", "billed", "recomputed", "difference", "is_equal", "formula", "versions", "sources", "corrections",
             "range", "computed_from", "slowest"]
)  # fmt: skip
def test_each_part_of_an_explanation_is_there(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert name in ExplainedShown().fields


@pytest.mark.parametrize(
    "address",
    ["/repricing/", "/unpriced/", "/explain/", "/api/v1/unpriced/", "/api/v1/explain/", "/api/v1/repricings/"],
)
def test_each_address_leads_somewhere(address: str) -> None:
    assert address in PAGE
    assert resolve(address).route


@pytest.mark.parametrize("metric", [*METRICS, *PERCENTILES])
def test_each_metric_is_named(metric: str) -> None:
    assert f"`{metric}`" in PAGE


def test_the_command_knows_what_is_said_of_it() -> None:
    parser = Command().create_parser("manage.py", "reprice")
    known = {option for action in parser._actions for option in action.option_strings}
    assert {"--from", "--model", "--apply", "--undo", "--continue"} <= known


def test_figures_are_those_of_the_code() -> None:
    assert applied(7) in PAGE
    assert f"{BILLS_PER_STRETCH:,} bills" in PAGE
