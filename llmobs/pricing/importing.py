"""Prices out to a sheet and in from one: what is new is made, what is there stays, and nothing is ever edited."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from llmobs.pricing import sheet
from llmobs.pricing.models import Price
from llmobs.pricing.quotes import RATES
from llmobs.pricing.sheet import Line, Problem, SheetError
from llmobs.tenants import audit
from llmobs.tenants.models import Tenant

_VALUES = (*RATES, "units", "long_context", "tiers")


@dataclass(frozen=True)
class Difference:
    """What a sheet would change."""

    new: list[Price]
    unchanged: int

    def __str__(self) -> str:
        told = [f"+ {price} {_told(price)}" for price in self.new]
        return "\n".join([*told, f"{len(self.new)} new, {self.unchanged} unchanged"])


def export(prices: Iterable[Price]) -> str:
    """The sheet of these prices (with their tenants loaded)."""
    return sheet.write(_line(price) for price in prices)


def bring_in(text: str, actor: str, is_applied: bool) -> Difference:
    """What a sheet changes; written with its audit entries if `is_applied`, all or nothing. Raises SheetError."""
    lines = sheet.read(text)
    with transaction.atomic():
        found = _difference(lines)
        if is_applied:
            for price in found.new:
                audit.save(price, actor, "import")
    return found


def _difference(lines: list[Line]) -> Difference:
    tenants = dict(Tenant.objects.in_bulk(field_name="slug")) if any(line.tenant for line in lines) else {}
    names = {line.model for line in lines}
    there = {
        (price.tenant_id, price.provider, price.model, price.effective_from): price
        for price in Price.objects.filter(model__in=names)
    }
    new, problems, unchanged = [], [], 0
    for line in lines:
        tenant = tenants.get(line.tenant)
        if line.tenant and tenant is None:
            problems.append(Problem(line.number, "tenant", f"there is no tenant {line.tenant!r}"))
            continue
        price = _price(line, tenant)
        known = there.get((price.tenant_id, price.provider, price.model, price.effective_from))
        if known is None:
            problems += _problems(line, price)
            new.append(price)
        elif changed := [name for name in _compared() if _value(known, name) != _value(price, name)]:
            said = "this price is there with another value, and a price is never edited: give it a later effective_from"
            problems.append(Problem(line.number, changed[0], said))
        else:
            unchanged += 1
    if problems:
        raise SheetError(problems[: sheet.MOST_PROBLEMS])
    return Difference(new, unchanged)


def _problems(line: Line, price: Price) -> list[Problem]:
    try:
        price.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        return [
            Problem(line.number, name if name in sheet.COLUMNS else "", message)
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    return []


def _price(line: Line, tenant: Tenant | None) -> Price:
    return Price(
        tenant=tenant,
        provider=line.provider,
        model=line.model,
        effective_from=line.effective_from,
        effective_to=line.effective_to,
        max_output_tokens=line.max_output_tokens,
        **line.values,
    )


def _line(price: Price) -> Line:
    return Line(
        0,
        price.tenant.slug if price.tenant is not None else "",
        price.provider,
        price.model,
        price.effective_from,
        price.effective_to,
        price.max_output_tokens,
        {name: getattr(price, name) for name in _VALUES},
    )


def _compared() -> tuple[str, ...]:
    return (*_VALUES, "effective_to", "max_output_tokens")


def _value(price: Price, name: str) -> Any:
    """As it compares: amounts of units as they are printed, whatever way they were written."""
    value = getattr(price, name)
    return {unit: sheet.amount_text(amount) for unit, amount in value.items()} if name == "units" else value


def _told(price: Price) -> str:
    given = [(name.removesuffix("_usd_per_mtok"), getattr(price, name)) for name in RATES]
    rates = [f"{name} {amount}" for name, amount in given if amount is not None]
    rates += [f"{name} {amount}" for name, amount in price.units.items()]
    return f"({', '.join(rates)})" + (f" for {price.tenant.slug}" if price.tenant is not None else "")
