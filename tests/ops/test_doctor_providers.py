"""`doctor` on providers and routes: credentials that cannot be had, certificates unchecked, routes that name nobody."""

from typing import Any

import pytest

from llmobs.ops.checklist import Item, State, installation
from llmobs.providers.models import Provider, Route


def items(what: str) -> list[Item]:
    return [item for item in installation() if item.what.startswith(what)]


def provider(**fields: Any) -> Provider:
    return Provider.objects.create(name="p", dialect="openai", **{"base_url": "https://h/v1", **fields})


@pytest.mark.django_db
def test_an_only_credential_that_cannot_be_had_is_p0() -> None:
    """S0-45: a credential that its variable does not hold is found before traffic finds it."""
    provider(credential="env:NOT_SET_ANYWHERE")

    [item] = items("the credential of p")

    assert (item.priority, item.state) == ("P0", State.MISSING)
    assert item.how == "the variable NOT_SET_ANYWHERE is not set here; the gateway needs it from its start"


@pytest.mark.django_db
def test_one_of_several_that_cannot_be_had_is_p1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_HERE", "sk")
    provider(credentials=[{"credential": "env:SET_HERE"}, {"credential": "env:NOT_SET_ANYWHERE"}])

    [item] = items("the credential of p")

    assert (item.priority, item.state) == ("P1", State.MISSING)


@pytest.mark.django_db
def test_retries_are_there_and_who_has_none_is_named() -> None:
    """S4-23: a P0 of the launch checklist."""
    provider(retries=0)

    [item] = items("retries")

    assert (item.priority, item.state, item.how) == ("P0", State.SET, "before the first byte; none at p")


@pytest.mark.django_db
@pytest.mark.parametrize(("verify", "state"), [(True, State.SET), (False, State.MISSING)])
def test_a_provider_whose_certificate_is_not_checked_is_pointed_out(verify: bool, state: State) -> None:
    provider(verify=verify)

    [item] = items("providers whose certificates are checked")

    assert item.state is state


@pytest.mark.django_db
def test_a_scorer_that_is_no_route_is_pointed_out() -> None:
    Route.objects.create(name="cheap-first", strategy="cascade", cascade_scorer="nobody")

    [item] = items("routes that score cascades")

    assert item.how == "there is no such route (cheap-first: nobody)"


@pytest.mark.django_db
def test_a_task_of_two_routes_is_pointed_out() -> None:
    Route.objects.create(name="a", tasks=["code", "chat"])
    Route.objects.create(name="b", tasks=["code"])

    [item] = items("one route for each task")

    assert item.how.startswith("code: the route made first answers")
