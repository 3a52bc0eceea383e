"""The charts are Plotly's: each page's figures pass Plotly's own checks, and the browser has the same version."""

import json
import re
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import plotly
import plotly.graph_objects as go
import pytest

from tests.dashboards.cast import Cast

STATIC = Path(__file__).resolve().parents[2] / "dashboards/static/dashboards"
FIGURE = re.compile(r'<script id="figure-[\w-]+" type="application/json">(.*?)</script>', re.S)
OF_THEIR_COLOUR = re.compile(r"^--[\w-]+$")


def drawable(value: object) -> object:
    """As charts.js hands it to Plotly: colours by their values."""
    if isinstance(value, dict):
        return {name: drawable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [drawable(one) for one in value]
    return "#123456" if isinstance(value, str) and OF_THEIR_COLOUR.match(value) else value


@pytest.mark.parametrize("path", ["/", "/traces/", "/costs/", "/budgets/"])
def test_each_figure_passes_plotlys_checks(path: str, cast: Cast) -> None:
    page = cast.as_(cast.alice).get(path).content.decode()
    figures = [json.loads(text) for text in FIGURE.findall(page)]
    assert figures
    for figure in figures:
        whole = drawable(figure)
        assert isinstance(whole, dict)
        shared = {"x": [str(datetime.fromisoformat(whole["x0"]) + timedelta(minutes=n)) for n in whole["x_min"]]}
        made = go.Figure(data=[{**shared, **trace} for trace in whole["data"]], layout=whole["layout"])
        assert len(made.data) == len(whole["data"])


def test_the_browsers_plotly_is_the_wheels_and_unchanged() -> None:
    wheel = (Path(plotly.__file__).parent / "package_data/plotly.min.js").read_text()[:200]
    version = re.search(r"plotly\.js v([\d.]+)", wheel)
    assert version is not None
    bundle = STATIC / f"plotly-basic-{version[1]}.min.js"
    assert sha256(bundle.read_bytes()).hexdigest() in (STATIC / "README.md").read_text()
