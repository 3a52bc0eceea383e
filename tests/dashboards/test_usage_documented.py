"""docs/usage.md and docs/forecast.md name what there is."""

from pathlib import Path

import pytest

from dashboards.api.budgets import FORETOLD
from dashboards.api.usage import PARAMETERS, CsvRenderer, ParquetRenderer
from dashboards.api.usage_formats import columns_of
from dashboards.queries.usage import GROUPS
from llmobs.budgets.forecast import HORIZON_OF_LIFETIME
from llmobs.budgets.outlook import MOST_FORETOLD
from llmobs.budgets.pace import MOST_ORIGINS
from llmobs.budgets.window import WINDOWS

DOCS = Path(__file__).parents[2] / "docs"
USAGE, FORECAST = (DOCS / name for name in ("usage.md", "forecast.md"))
FORMATS = (CsvRenderer.media_type, ParquetRenderer.media_type)


@pytest.mark.parametrize("name", [*GROUPS, *PARAMETERS, *columns_of(()), *FORMATS])
def test_usage_names_every_dimension_parameter_column_and_format(name: str) -> None:
    assert f"`{name}`" in USAGE.read_text()


@pytest.mark.parametrize("name", [*FORETOLD, *WINDOWS])
def test_forecast_names_every_field_and_window(name: str) -> None:
    assert f"`{name}`" in FORECAST.read_text()


def test_forecast_says_the_bounds() -> None:
    page = FORECAST.read_text()
    assert f"the {MOST_FORETOLD} largest" in page
    assert f"looks {HORIZON_OF_LIFETIME.days} days ahead" in page
    assert f"up to {MOST_ORIGINS} earlier moments" in page
