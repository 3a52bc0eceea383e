"""Budgets, providers, routes, prices, judges, scores and channels over REST."""

import pytest
from django.conf import settings

from llmobs.alerts.models import Channel
from llmobs.evals.models import Score
from llmobs.providers.credentials import open_credential
from llmobs.providers.models import Provider, Route
from llmobs.tenants.models import AuditEntry
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, with_key

API = "/api/v1"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def test_a_budgets_limit_is_a_decimal_string_of_usd(cast: Cast) -> None:
    client = as_person(cast.alice)
    budget = {"tenant": "acme", "name": "monthly", "limit_usd": "12.50", "scope": {"user": "*"}}

    made = client.post(f"{API}/budgets/", budget, format="json").json()
    changed = client.patch(f"{API}/budgets/{made['id']}/", {"limit_usd": 20}, format="json").json()

    assert (made["limit_usd"], made["limit_tokens"], made["window"]) == ("12.5", None, "month")
    assert changed["limit_usd"] == "20"
    assert AuditEntry.objects.get(action="change").change == {"limit_nanousd": [12_500_000_000, 20_000_000_000]}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"limit_usd": "-1"}, "A limit is between"),
        ({"limit_usd": "ten"}, "limit_usd"),
        ({"limit_usd": "9000001"}, "A limit is between"),
        ({"limit_usd": None}, "one of the two"),
        ({"limit_tokens": 5}, "one of the two"),
        ({"window": "fortnight"}, "window"),
        ({"scope": {"colour": "red"}}, "scope"),
        ({"scope": {"key": "nobody"}}, "no key named"),
        ({"thresholds": ["many"]}, "thresholds"),
        ({"tenant": "globex"}, "tenant"),
    ],
)
def test_a_wrong_budget_is_refused_and_the_field_named(cast: Cast, wrong: dict[str, object], field: str) -> None:
    budget = {"tenant": "acme", "name": "monthly", "limit_usd": "1", **wrong}

    answer = as_person(cast.alice).post(f"{API}/budgets/", budget, format="json")

    assert field in str(assert_problem(answer, 400))


def test_a_budgets_status_without_spend_is_all_left(cast: Cast, valkey_url: str) -> None:
    client = as_person(cast.alice)
    budget = {"tenant": "acme", "name": "monthly", "limit_usd": "12.50"}
    made = client.post(f"{API}/budgets/", budget, format="json").json()

    status = client.get(f"{API}/budgets/{made['id']}/status/").json()

    assert (status["limit"], status["spent"], status["remaining"]) == ("12.5", "0", "12.5")
    assert (status["forecast"], status["exhausts_at"], status["is_counted"]) == (None, None, False)


def test_a_budget_that_is_off_says_that_nothing_is_known(cast: Cast) -> None:
    client = as_person(cast.alice)
    budget = {"tenant": "acme", "name": "off", "limit_tokens": 5, "is_active": False}
    made = client.post(f"{API}/budgets/", budget, format="json").json()

    status = client.get(f"{API}/budgets/{made['id']}/status/").json()

    assert (status["limit"], status["spent"], status["held"]) == (5, None, None)


def test_a_credential_goes_in_sealed_and_never_comes_out(cast: Cast) -> None:
    client = as_person(cast.olga)
    provider = {"name": "p", "dialect": "openai", "base_url": "http://host:1/v1", "credential": "sk-very-secret"}

    made = client.post(f"{API}/providers/", {**provider, "headers": {"x-org": "hidden-org"}}, format="json").json()

    assert made["has_credential"] is True
    assert "credential" not in made
    assert "headers" not in made
    stored = Provider.objects.get().credential
    assert open_credential(stored, settings.SECRETS.encryption_keys) == "sk-very-secret"
    told = str(list(AuditEntry.objects.values_list("change", flat=True)))
    assert "sk-very-secret" not in told
    assert "hidden-org" not in told


def test_operators_alone_see_providers_and_everyone_the_routes(cast: Cast) -> None:
    operator = as_person(cast.olga)
    operator.post(f"{API}/providers/", {"name": "p", "dialect": "openai", "base_url": "http://h/v1"}, format="json")
    route = {"name": "smart", "candidates": [{"provider": "p", "model": "a"}, {"provider": "p", "model": "b"}]}

    made = operator.post(f"{API}/routes/", route, format="json").json()

    assert [entry["model"] for entry in made["candidates"]] == ["a", "b"]
    assert_problem(with_key("acme").get(f"{API}/providers/"), 403)
    assert_problem(with_key("acme").get(f"{API}/providers/{Provider.objects.get().pk}/"), 403)
    assert with_key("acme").get(f"{API}/routes/").json()["results"] == [made]
    assert_problem(with_key("acme").patch(f"{API}/routes/{made['id']}/", {"name": "mine"}, format="json"), 403)
    assert (
        "candidate p/a"
        in assert_problem(operator.delete(f"{API}/providers/{Provider.objects.get().pk}/"), 409)["detail"]
    )


def test_a_routes_candidates_are_replaced_as_a_whole(cast: Cast) -> None:
    client = as_person(cast.olga)
    client.post(f"{API}/providers/", {"name": "p", "dialect": "openai", "base_url": "http://h/v1"}, format="json")
    route = {"name": "smart", "candidates": [{"provider": "p", "model": "a"}, {"provider": "p", "model": "b"}]}
    made = client.post(f"{API}/routes/", route, format="json").json()

    client.patch(
        f"{API}/routes/{made['id']}/", {"candidates": [{"provider": "p", "model": "c"}]}, format="json"
    )  # fmt: skip

    assert [str(candidate) for candidate in Route.objects.get().candidates.all()] == ["p/c"]
    assert_problem(client.patch(f"{API}/routes/{made['id']}/", {"candidates": []}, format="json"), 400)


def test_a_price_is_set_by_operators_and_never_edited(cast: Cast) -> None:
    client = as_person(cast.olga)
    price = {"provider": "local", "model": "m", "effective_from": "2026-01-01T00:00:00Z", "input_usd_per_mtok": "0.05"}

    made = client.post(f"{API}/models/", price, format="json").json()

    assert (made["tenant"], made["input_usd_per_mtok"], made["output_usd_per_mtok"]) == (None, "0.050000", None)
    assert_problem(client.patch(f"{API}/models/{made['id']}/", {"input_usd_per_mtok": "1"}, format="json"), 409)
    own = {**price, "tenant": "acme"}
    assert_problem(as_person(cast.alice).post(f"{API}/models/", own, format="json"), 403)
    assert [row["model"] for row in with_key("globex").get(f"{API}/models/").json()["results"]] == ["m"]


def test_a_tenants_own_price_is_seen_by_it_alone(cast: Cast) -> None:
    price = {"provider": "p", "model": "m", "effective_from": "2026-01-01T00:00:00Z", "input_usd_per_mtok": "0.05"}
    as_person(cast.olga).post(f"{API}/models/", {**price, "tenant": "acme"}, format="json")

    assert len(with_key("acme").get(f"{API}/models/").json()["results"]) == 1
    assert with_key("globex").get(f"{API}/models/").json()["results"] == []


def test_a_judge_names_its_key_and_a_strangers_key_does_not_exist(cast: Cast) -> None:
    client = as_person(cast.alice)
    judge = {
        "tenant": "acme",
        "name": "helpful",
        "model": "smart",
        "key": "prod",
        "sample": "0.05",
        "criteria": ["good"],
    }

    made = client.post(f"{API}/judges/", judge, format="json").json()

    assert made["key"] == "acme/prod"
    stolen = client.post(f"{API}/judges/", {**judge, "name": "free", "key": "globex/prod"}, format="json")
    assert "There is no key" in str(assert_problem(stolen, 400))
    much = client.post(f"{API}/judges/", {**judge, "name": "much", "sample": "1.5"}, format="json")
    assert assert_problem(much, 400)["errors"][0]["field"] == "sample"


def test_feedback_is_a_thumb_a_number_or_a_label(cast: Cast) -> None:
    client = with_key("acme")

    thumb = client.post(f"{API}/scores/", {"trace_id": TRACE, "thumb": "down"}, format="json")
    number = client.post(f"{API}/scores/", {"trace_id": TRACE, "name": "stars", "value": "4.5"}, format="json")

    assert (thumb.status_code, number.status_code) == (201, 201)
    assert (thumb.json()["label"], thumb.json()["source"], thumb.json()["tenant"]) == ("thumb_down", "api", "acme")
    assert (number.json()["value"], thumb.json()["value"]) == (4.5, -1)
    assert bytes(Score.objects.get(name="stars").trace_id).hex() == TRACE
    assert [row["name"] for row in client.get(f"{API}/scores/?trace_id={TRACE}&name=stars").json()["results"]] == [
        "stars"
    ]


@pytest.mark.parametrize(
    "score",
    [
        {"trace_id": "abc", "thumb": "up"},
        {"trace_id": "0" * 32, "thumb": "up"},
        {"trace_id": TRACE},
        {"trace_id": TRACE, "thumb": "sideways"},
        {"trace_id": TRACE, "tenant": "globex", "thumb": "up"},
    ],
)
def test_feedback_that_says_nothing_or_is_of_another_tenant_is_refused(cast: Cast, score: dict[str, str]) -> None:
    assert_problem(with_key("acme").post(f"{API}/scores/", score, format="json"), 400)
    assert not Score.objects.exists()


def test_a_channels_address_goes_in_and_its_host_comes_out(cast: Cast) -> None:
    channel = {"tenant": "acme", "name": "ops", "url": "https://hooks.example.com/T0/secret-path"}

    made = as_person(cast.alice).post(f"{API}/alert-channels/", channel, format="json")

    assert made.json()["target"] == "https://hooks.example.com/…"
    assert "secret-path" not in made.content.decode()
    assert "secret-path" not in str(list(AuditEntry.objects.values_list("change", flat=True)))
    assert Channel.objects.get().address.endswith("secret-path")
    shared = {**channel, "tenant": None}
    assert_problem(as_person(cast.alice).post(f"{API}/alert-channels/", shared, format="json"), 403)
