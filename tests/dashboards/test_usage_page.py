"""The page of usage and the month's statement: what they say, lead to and leave out."""

import re
from html import unescape

import pytest

from llmobs.core.money import exact_usd
from tests.dashboards.cast import Cast


def text_of(cast: Cast, path: str, user: str = "alice") -> str:
    answer = cast.as_(getattr(cast, user)).get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_the_page_adds_up_by_what_is_picked(cast: Cast) -> None:
    page = text_of(cast, "/usage/?last=7d&by=feature&by=day")
    assert "code-review" in page
    assert re.search(r'value="day" checked', page)
    assert not re.search(r'value="model" checked', page)


def test_its_downloads_say_what_it_shows(cast: Cast) -> None:
    page = text_of(cast, "/usage/?last=7d&by=feature&feature=checkout")
    [address] = re.findall(r'href="([^"]+format=csv[^"]*)"', page)
    lines = cast.as_(cast.alice).get(address).getvalue().decode().splitlines()
    assert lines[0].startswith("feature,requests,")
    assert [line.split(",")[0] for line in lines[1:]] == ["checkout"]


def test_the_sum_on_the_page_is_that_of_the_rows(cast: Cast) -> None:
    rows = cast.as_(cast.alice).get("/api/v1/usage/?last=7d&group_by=feature").json()["results"]
    total = sum(round(float(row["cost_usd"] or 0) * 1e9) for row in rows)
    page = text_of(cast, "/usage/?last=7d")
    assert exact_usd(total)[:6] in page


def test_of_two_times_the_first_is_taken(cast: Cast) -> None:
    assert '<th scope="col">Hour</th>' not in text_of(cast, "/usage/?by=day&by=hour&by=nonsense")


def test_a_month_has_a_statement(cast: Cast) -> None:
    page = text_of(cast, "/usage/statement/")
    assert "Acme" in page
    assert "support-agent" in page
    assert "Sum of everything" in page
    assert "Nothing was billed in this month" in text_of(cast, "/usage/statement/?month=2001-02")


@pytest.mark.parametrize("month", ["0001-01", "2024-13", "x", "2024-01-01"])
def test_a_month_that_is_none_is_this_one(cast: Cast, month: str) -> None:
    assert "support-agent" in text_of(cast, f"/usage/statement/?month={month}")


def test_a_stranger_has_a_statement_of_nothing(cast: Cast) -> None:
    assert "support-agent" not in text_of(cast, "/usage/statement/", "charlie")
    assert cast.as_(cast.charlie).get("/usage/statement/?tenant=acme").status_code == 404
