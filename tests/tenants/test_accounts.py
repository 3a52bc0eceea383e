"""Signing in: nobody signs up, guessers are slowed, cookies are for the server alone."""

import pytest
from django.core.cache import cache
from django.test import Client

from llmobs.tenants.models import User
from tests.tenants.cast import PASSWORD

LOGIN = "/accounts/login/"


@pytest.fixture
def olga(db: None, valkey_url: str) -> User:
    cache.clear()
    return User.objects.create_user("olga", email="olga@example.com", password=PASSWORD)


@pytest.mark.parametrize("name", ["olga", "olga@example.com"])
def test_a_person_signs_in_by_name_or_address_and_goes_where_they_wanted(olga: User, name: str) -> None:
    answer = Client().post(f"{LOGIN}?next=/admin/", {"login": name, "password": PASSWORD})

    assert (answer.status_code, answer["location"]) == (302, "/admin/")
    cookie = answer.cookies["llmobs_session"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_nobody_is_sent_to_another_host(olga: User) -> None:
    answer = Client().post(f"{LOGIN}?next=https://evil.example/", {"login": "olga", "password": PASSWORD})

    assert answer["location"] == "/"


def test_a_guesser_is_slowed_even_with_the_right_password_at_last(olga: User) -> None:
    client = Client()
    for _ in range(5):
        client.post(LOGIN, {"login": "olga", "password": "wrong"})

    answer = client.post(LOGIN, {"login": "olga", "password": PASSWORD})

    assert answer.status_code in (200, 429)
    assert "llmobs_session" not in answer.cookies


def test_nobody_signs_up(db: None, valkey_url: str) -> None:
    form = {"username": "mallory", "email": "m@example.com", "password1": PASSWORD, "password2": PASSWORD}

    Client().post("/accounts/signup/", form)

    assert not User.objects.exists()


def test_a_form_of_another_site_signs_nobody_in(olga: User) -> None:
    assert Client(enforce_csrf_checks=True).post(LOGIN, {"login": "olga", "password": PASSWORD}).status_code == 403


def test_leaving_takes_a_click_and_ends_the_session(olga: User) -> None:
    client = Client()
    client.force_login(olga)
    assert client.get("/api/v1/tenants/").status_code == 200

    client.get("/accounts/logout/")
    assert client.get("/api/v1/tenants/").status_code == 200
    answer = client.post("/accounts/logout/")

    assert answer["location"] == LOGIN
    assert client.get("/api/v1/tenants/").status_code == 401
