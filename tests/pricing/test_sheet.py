"""Prices as CSV: what goes out comes back the same, mistakes are named, nothing is edited."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmobs.pricing import importing, sheet
from llmobs.pricing.models import Price
from llmobs.pricing.quotes import RATES
from llmobs.pricing.sheet import Line, SheetError
from llmobs.pricing.units import UNIT_BY_COLUMN
from llmobs.tenants.models import AuditEntry, Tenant

USD = st.decimals(0, 9999, places=6)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=40)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
OWN = st.fixed_dictionaries({"input_usd_per_mtok": USD.map(str), "output_usd_per_mtok": USD.map(str)})
TIERS = st.dictionaries(st.sampled_from(["batch", "flex", "priority"]), st.just({"times": "0.5"}) | OWN, max_size=2)
LONG = st.dictionaries(st.integers(1, 10**6), OWN, max_size=3).map(
    lambda above: [{"above_input_tokens": length, **above[length]} for length in sorted(above)]
)

VALUES = st.fixed_dictionaries(
    {
        **{name: st.none() | USD for name in RATES[1:]},
        RATES[0]: USD,
        "units": st.dictionaries(st.sampled_from(sorted(UNIT_BY_COLUMN)), USD.map(sheet.amount_text), max_size=4),
        "long_context": LONG,
        "tiers": TIERS,
    }
)
LINES = st.builds(
    Line,
    number=st.just(0),
    tenant=st.sampled_from(["", "acme"]),
    provider=NAMES,
    model=NAMES,
    effective_from=TIMES,
    max_output_tokens=st.none() | st.integers(1, 10**6),
    values=VALUES,
)


@given(
    st.lists(LINES, max_size=5, unique_by=lambda line: (line.tenant, line.provider, line.model, line.effective_from))
)
def test_what_goes_out_comes_back_the_same(lines: list[Line]) -> None:
    text = sheet.write(lines)
    back = sheet.read(text)
    assert [replaced(line) for line in back] == [replaced(line) for line in lines]
    assert sheet.write(back) == text


def replaced(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in Line.__dataclass_fields__ if name != "number"}


HEADS = "provider,model,effective_from,input_usd_per_mtok,output_usd_per_mtok,web_search_usd_per_thousand,tiers\n"
FROM = "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("acme,m,2026-11-01,1,2,,", "line 2, effective_from: '2026-11-01' has no zone"),
        (f"acme,m,{FROM},one,2,,", "line 2, input_usd_per_mtok: 'one' is no amount of USD"),
        (f"acme,m,{FROM},-1,2,,", "line 2, input_usd_per_mtok: -1 is not between 0"),
        (f"acme,m,{FROM},0.0000001,2,,", "line 2, input_usd_per_mtok: 0.0000001 has more than 6 decimals"),
        (f"acme,m,{FROM},1,2,x,", "line 2, web_search_usd_per_thousand: 'x' is no amount"),
        (f"acme,,{FROM},1,2,,", "line 2, model: is needed"),
        (f"acme,m,{FROM},,,,", "line 2: a price has input_usd_per_mtok"),
        (f'acme,m,{FROM},1,2,,"{{""express"": {{""times"": ""2""}}}}"', "line 2, tiers: tiers.express: no tier"),
        (f"acme,m,{FROM},1,2,,{{", "line 2, tiers: no JSON"),
        (f"acme,m,{FROM},1,2,", "line 2: 6 cells, but 7 heads"),
        (f"acme,m,{FROM},1,2,,\nacme,m,{FROM},1,2,,", "line 3, effective_from: line 2 has this price already"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_column(line: str, told: str) -> None:
    with pytest.raises(SheetError) as raised:
        sheet.read(HEADS + line)
    assert str(raised.value).startswith(told)


def test_a_column_that_nobody_knows_is_told() -> None:
    with pytest.raises(SheetError, match=r"line 1: the heads are wrong \(unknown: price; missing: effective_from"):
        sheet.read("provider,model,price\n")


def test_a_cell_that_a_spreadsheet_would_run_is_no_formula() -> None:
    line = Line(0, "", "=cmd()", "m", datetime(2026, 1, 1, tzinfo=UTC), values={"input_usd_per_mtok": Decimal(1)})
    text = sheet.write([line])
    assert "'=cmd()" in text
    assert sheet.read(text)[0].provider == "=cmd()"


@pytest.mark.django_db
def test_an_import_shows_first_writes_then_and_changes_nothing_the_second_time() -> None:
    Tenant.objects.create(slug="acme", name="Acme")
    text = HEADS.replace("tiers", "tenant") + f"local,llama,{FROM},0.10,0.2,5,acme\nlocal,llama,{FROM},1,2,,\n"

    shown = importing.bring_in(text, "olga", is_applied=False)
    assert (len(shown.new), Price.objects.count()) == (2, 0)
    importing.bring_in(text, "olga", is_applied=True)

    assert Price.objects.get(tenant__slug="acme").units == {"web_search_usd_per_thousand": "5"}
    assert AuditEntry.objects.filter(action="import", actor="olga").count() == 2
    again = importing.bring_in(importing.export(Price.objects.select_related("tenant")), "olga", is_applied=True)
    assert (again.new, again.unchanged) == ([], 2)


@pytest.mark.django_db
def test_a_price_is_never_edited_by_an_import_and_nothing_of_the_sheet_is_written() -> None:
    importing.bring_in(HEADS + f"local,llama,{FROM},1,2,,\n", "olga", is_applied=True)
    with pytest.raises(SheetError, match="line 3, output_usd_per_mtok: this price is there with another value"):
        importing.bring_in(HEADS + f"local,other,{FROM},1,2,,\nlocal,llama,{FROM},1,3,,\n", "olga", is_applied=True)
    assert Price.objects.count() == 1


@pytest.mark.django_db
def test_a_tenant_that_is_not_there_is_told() -> None:
    with pytest.raises(SheetError, match="line 2, tenant: there is no tenant 'nobody'"):
        importing.bring_in(
            f"tenant,provider,model,effective_from,input_usd_per_mtok\nnobody,p,m,{FROM},1\n", "o", False
        )


@pytest.mark.parametrize("tiers", ["[" * 100_000, '"{""\\ud800"":{}}"'])
def test_nested_rates_that_nothing_can_hold_are_told_with_their_line(tiers: str) -> None:
    with pytest.raises(SheetError, match="line 2, tiers: no JSON"):
        sheet.read(f"provider,model,effective_from,input_usd_per_mtok,tiers\np,m,{FROM},1,{tiers}\n")


def test_nothing_is_not_written_out_as_a_million_zeros() -> None:
    (line,) = sheet.read(f"provider,model,effective_from,input_usd_per_mtok\np,m,{FROM},0E-9999999\n")
    assert len(sheet.write([line])) < 1000


def test_a_time_before_the_first_is_told() -> None:
    with pytest.raises(SheetError, match="line 2, effective_from"):
        sheet.read("provider,model,effective_from,input_usd_per_mtok\np,m,0001-01-01T00:00:00+23:00,1\n")
