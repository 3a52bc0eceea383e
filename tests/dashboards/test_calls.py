"""A trace of the gateway's own calls: attempts under their call, hits, last resorts, refusals, prompts, guards."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from llmobs.budgets.definition import Budgets
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.ingest.attempts import called_span, refused_span
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.ingest.entries import Finding, Refused
from llmobs.prompts.models import Prompt
from llmobs.spans.record import Span
from tests.dashboards.cast import Cast
from tests.ingest.calls import WHO, attempt, called, fallen_back, hit
from tests.ingest.making import START_NS

Connection = psycopg.Connection[Any]


@pytest.fixture
def show(empty_cast: Cast, pg: Connection) -> Any:
    """Stores spans (with what guards found in the first) and gives the page of their trace."""

    def shown(spans: Sequence[Span], *findings: Finding, **query: str) -> Any:
        commit_batch(pg, Batch(spans=list(spans), findings=[(spans[0], each) for each in findings]), Budgets())
        alice = empty_cast.as_(empty_cast.alice)
        return alice.get(f"/traces/{spans[0].trace_id.hex()}/", query)

    return shown


def page(response: Any) -> str:
    return " ".join(response.content.decode().replace("\u00a0", " ").split())


def refused(tenant_id: int, reason: str, **details: str | int) -> Span:
    return refused_span(
        Refused(
            new_span_id(), new_trace_id(), None, tenant_id, WHO, START_NS, 1000, "chat smart", "chat", "", "smart",
            reason, "not now", details,
        )
    )  # fmt: skip


def test_a_fallback_shows_each_attempt_under_its_degraded_call(show: Any, empty_cast: Cast) -> None:
    """S4-26: who was asked in which order, why it failed, and who answered."""
    response = show(fallen_back(empty_cast.acme.pk))
    rows = [(row.name, row.node.depth, [word for _, word in row.badges]) for row in response.context["rows"]]
    assert rows == [
        ("chat smart", 0, ["fallback"]),
        ("attempt 1 · claude-sonnet-4-5", 1, []),
        ("attempt 2 · gpt-4o-mini-2024-07-18", 1, []),
    ]
    assert response.context["trace"].status == "degraded"
    assert response.context["selected"].span.name == "chat smart"
    assert response.context["facts"] | {"estimated": 0} == {
        "calls": 1, "attempts": 2, "failed": 1, "cached": 0, "refused": 0, "estimated": 0,
    }  # fmt: skip
    text = page(response)
    assert "Asked smart, answered by gpt-4o-mini of openai after 2 attempts" in text
    assert "529 overloaded error" in text


def test_an_attempt_that_was_not_heard_and_a_poor_one_say_so(show: Any, empty_cast: Cast) -> None:
    tenant_id = empty_cast.acme.pk
    hedge = called(tenant_id, status="ok", degraded="", failed_attempts=0)
    response = show([called_span(hedge), attempt(hedge, 1), attempt(hedge, 2, error_type="hedged")])
    assert [row.badges for row in response.context["rows"]] == [[], [], [("", "not heard")]]
    cascade = called(tenant_id, status="ok", degraded="", failed_attempts=0)
    response = show([called_span(cascade), attempt(cascade, 1), attempt(cascade, 2)])
    assert [row.badges for row in response.context["rows"]] == [[], [("", "too poor")], []]


def test_a_hit_says_that_it_cost_nothing_and_what_it_saved(show: Any, empty_cast: Cast) -> None:
    """S2-11: cost 0, with what was saved."""
    response = show([hit(empty_cast.acme.pk)], tab="cost")
    text = page(response)
    assert "exact hit" in text
    assert "answered out of the cache, once given by openai. Saved: 40 → 20 tokens, $0.00000400." in text
    assert response.context["facts"]["cached"] == 1


@pytest.mark.parametrize(("degraded", "badge"), [("static", "static answer"), ("stale_cache", "stale answer")])
def test_an_answer_that_no_attempt_gave_is_amber_and_says_what_it_was(
    degraded: str, badge: str, show: Any, empty_cast: Cast
) -> None:
    own = called(empty_cast.acme.pk, attempts=1, degraded=degraded, provider_name="", model="")
    failed = attempt(own, 1, status="failed", error_type="overloaded_error", usage=None, response_id="")
    response = show([called_span(own), failed], tab="cost")
    assert response.context["badges"] == [("warn", badge)]
    assert "nobody answered" in page(response)


def test_a_refusal_by_a_limit_shows_both_numbers(show: Any, empty_cast: Cast) -> None:
    """S0-22: what was used and what is allowed."""
    details: dict[str, str | int] = {
        "unit": "requests", "per": "minute", "limit": 60, "used": 59, "requested": 2, "value": "u_1",
        "limit_name": "", "retry_after_seconds": 7,
    }  # fmt: skip
    response = show([refused(empty_cast.acme.pk, "rate_limited_user", **details)])
    assert response.context["refusal"] == [
        ("For", "u_1"), ("At most", "60 requests per minute"), ("Used", "59"), ("Asked", "2"), ("Again in", "7 s"),
    ]  # fmt: skip


def test_a_refusal_by_a_budget_shows_what_is_spent_and_held(show: Any, empty_cast: Cast) -> None:
    details: dict[str, str | int] = {
        "budget": "monthly", "window": "month", "unit": "usd", "limit": 10**10, "base": 9 * 10**9, "pending": 10**9,
        "held": 0, "requested": 5_000_000, "value": "",
    }  # fmt: skip
    response = show([refused(empty_cast.acme.pk, "budget_exhausted", **details)])
    assert response.context["refusal"] == [
        ("Budget", "monthly, month"), ("Limit", "$10.00"), ("Spent", "$10.00"), ("Held", "$0"), ("Asked", "$0.00500"),
    ]  # fmt: skip
    assert show([refused(empty_cast.acme.pk, "model_not_allowed")]).context["refusal"] == []


def test_what_guards_did_stands_on_the_call(show: Any, empty_cast: Cast) -> None:
    masked = Finding("personal_data", "input", "masked", "email", count=2)
    blocked = Finding("injection", "tool_result", "blocked", "ignore_instructions", score_permille=960)
    response = show([refused(empty_cast.acme.pk, "prompt_injection")], masked, blocked)
    assert response.context["badges"] == [("bad", "blocked"), ("warn", "masked")]
    told = [
        (each.action, each.kind, each.words, each.place, each.count, each.score)
        for each in response.context["findings"]
    ]
    assert told == [
        ("blocked", "prompt injection", "ignore instructions", "a tool's result", 1, "0.96"),
        ("masked", "personal data", "email", "what was asked", 2, ""),
    ]


def test_a_prompts_version_leads_to_its_page(show: Any, empty_cast: Cast) -> None:
    prompt = Prompt.objects.create(tenant=empty_cast.acme, name="greet")
    assert f"/prompts/?last=24h&amp;prompt={prompt.pk}&amp;version=3" in page(
        show([hit(empty_cast.acme.pk, prompt_version="greet@3")])
    )
    assert "gone@1, since deleted" in page(show([hit(empty_cast.acme.pk, prompt_version="gone@1")]))


def test_the_overview_counts_calls_and_says_what_their_attempts_were(empty_cast: Cast, pg: Connection) -> None:
    """S3-30: the share out of the cache; a call that another attempt answered is no error."""
    tenant_id = empty_cast.acme.pk
    spans = [each for _ in range(60) for each in fallen_back(tenant_id)] + [hit(tenant_id) for _ in range(60)]
    commit_batch(pg, Batch(spans=spans), Budgets())
    text = page(empty_cast.as_(empty_cast.alice).get("/"))
    assert "No errors among 120 calls" in text
    assert "Not by the first choice: 60 of 120 calls. Attempt by attempt they are 180, of which 60 failed" in text
    assert "From cache: 60 (50.0 %)" in text
    assert "as expected" in text


def test_a_cache_that_hardly_serves_is_named(empty_cast: Cast, pg: Connection) -> None:
    """S3-30: below 10 % its strategy needs work."""
    tenant_id = empty_cast.acme.pk
    spans = [each for _ in range(120) for each in fallen_back(tenant_id)] + [hit(tenant_id)]
    commit_batch(pg, Batch(spans=spans), Budgets())
    assert "above 50 % for search and FAQ" in page(empty_cast.as_(empty_cast.alice).get("/"))
