"""Prices: what do the models that we use cost, who says so, and what has none?"""

from dataclasses import dataclass, replace

from django.http import HttpResponse

from dashboards.blocks import guarded
from dashboards.queries.prices import PricedModel, priced_models, stated
from dashboards.views.frame import filter_choices
from dashboards.visit import Visit, page, show
from llmobs.pricing.price import Price
from llmobs.pricing.units import UNIT_BY_NAME


@dataclass(frozen=True)
class Line:
    """A price as one reads it, whoever's it is."""

    model: PricedModel
    price: Price | None
    whose: str
    apart: list[str]  # what is priced besides text
    has_sums: bool  # calls and cost are of the model, so they stand in its first line alone


@page("prices", "30d")
def price_list(visit: Visit) -> HttpResponse:
    """The models in use with their prices, and what providers state themselves."""
    return show(
        visit,
        "dashboards/prices.html",
        heading="Prices",
        choices=filter_choices(visit),
        lines=guarded(visit, "prices", lambda: _lines(visit)),
        stated=guarded(visit, "stated", lambda: stated(visit.cursor, visit.scope)),
    )


def _lines(visit: Visit) -> list[Line]:
    names = {tenant.pk: tenant.name for tenant in visit.seen.tenants}
    found = []
    for each in priced_models(visit.cursor, visit.scope, visit.now):
        of_model = [
            Line(each, own.price, f"{names.get(own.tenant_id, '')}'s own", _apart(own.price), False) for own in each.own
        ]
        if len(each.own) < len(visit.seen.tenant_ids):  # else nobody here pays the common one
            of_model.insert(0, Line(each, each.price, _whose(each), _apart(each.price), False))
        found += [replace(of_model[0], has_sums=True), *of_model[1:]]
    return found


def _whose(model: PricedModel) -> str:
    if model.price is None:
        return "nobody's"
    return "set for all" if model.since is not None else "list price"


def _apart(price: Price | None) -> list[str]:
    """Long contexts, tiers and units, in a word each."""
    if price is None:
        return []
    words = [f"above {tier.above_input_tokens:,} tokens" for tier in price.tiers]
    words += [found.tier for found in price.at_tiers]
    return words + [UNIT_BY_NAME[unit].words for unit, _ in price.units if unit in UNIT_BY_NAME]
