"""Routing by task."""

import pytest

from gateway.routing.tasks import nothing_for, route_for, task_of
from llmobs.providers.registry import RouteInfo


def made(name: str, *tasks: str) -> RouteInfo:
    return RouteInfo(name, "fallback", (), tasks=tasks)


ROUTES = [
    made("haiku", "classification", "extraction"),
    made("sonnet", "summarization", "code"),
    made("opus", "reasoning"),
    made("mini", "faq"),
]


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("classification", "haiku"),
        ("Extraction ", "haiku"),
        ("summarisation", "sonnet"),
        ("reasoning", "opus"),
        ("code", "sonnet"),
        ("coding", "sonnet"),
        ("json", "haiku"),
    ],
)
def test_a_task_goes_to_the_route_that_lists_it(task: str, name: str) -> None:
    """S0-43, S3-03, S3-04, S3-07: the app names a task, the map names the model."""
    found = route_for(task, ROUTES)
    assert found is not None
    assert found.name == name


def test_a_task_that_no_route_lists_goes_where_auto_stands() -> None:
    """S3-04: a route may take all that no other takes."""
    assert route_for("poetry", ROUTES) is None
    found = route_for("poetry", [*ROUTES, made("default", "auto")])
    assert found is not None
    assert found.name == "default"


def test_a_missing_route_is_told_with_what_to_configure() -> None:
    assert "tasks" in nothing_for("poetry")
    assert "poetry" in nothing_for("poetry")


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("What are your opening hours?", "faq"),
        ("How do I reset my password?", "faq"),
        ("Write a Python function that reverses a list.", "code"),
        ("Fix this:\n```\nfor x in y print(x)\n```", "code"),
        ("Prove step by step that the square root of two is irrational.", "reasoning"),
        ("Compare PostgreSQL with MySQL for our ledger and weigh the trade-offs.", "reasoning"),
        ("Summarize the following article in three sentences: ...", "summarization"),
        ("Extract the invoice number and the amount: ...", "extraction"),
        ("Classify this review as positive or negative: great shoes", "classification"),
        ("Tell me about the shoes. " * 20, "chat"),
        ("Here are the minutes of the meeting. " * 500, "reasoning"),
    ],
)
def test_the_shape_of_a_request_says_its_task(text: str, task: str) -> None:
    """S1-02, S3-03: FAQ small, code to the coding model, long reasoning large."""
    assert task_of(text) == task


def test_what_asks_for_json_is_extraction_and_what_thinks_is_reasoning() -> None:
    """S1-02: the request's own fields weigh more than its words."""
    assert task_of("hello", wants_json=True) == "extraction"
    assert task_of("hello", thinks=True) == "reasoning"
