"""The web says how it is."""

import pytest
from django.db import OperationalError, connection
from django.test import Client


def test_it_is_alive_without_asking_the_database(client: Client) -> None:
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_it_is_ready_when_the_database_answers(client: Client) -> None:
    assert client.get("/readyz").content == b"ready\n"


@pytest.mark.django_db
def test_it_is_not_ready_when_the_database_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("connection refused for user llmobs")

    monkeypatch.setattr(connection, "cursor", away)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert b"llmobs" not in answer.content


def test_metrics_are_prometheus_text(client: Client) -> None:
    assert b"process_resident_memory_bytes" in client.get("/metrics").content


def test_pages_let_no_script_of_others_run(client: Client) -> None:
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy.split("; ")
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_admin_may_evaluate_its_own_expressions_and_nothing_more(client: Client) -> None:
    policy = client.get("/admin/login/").headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy.split("; ")
    assert "default-src 'self'" in policy
