"""The page of prompts: what each version did, what a running test says, and nothing of another tenant."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboards.prompt_figures import changed_lines, verdict
from llmobs.evals.models import Score
from llmobs.prompts import changes
from llmobs.prompts.content import Content
from llmobs.prompts.models import Prompt
from llmobs.prompts.results import Result
from tests.dashboards.cast import Cast
from tests.prompts.spans import write_call

ONE = Content([{"role": "system", "content": "Answer {{name}}.\nBe kind."}])
TWO = Content([{"role": "system", "content": "Answer {{name}} briefly.\nBe kind."}])


@pytest.fixture
def prompt(empty_cast: Cast) -> Prompt:
    prompt = changes.make(empty_cast.acme, "greet", ONE, "olga")
    changes.add_version(prompt, TWO, "olga", "shorter")
    changes.set_label(prompt, "staging", 2, "olga")
    return prompt


def test_without_prompts_the_page_says_how_to_write_one(empty_cast: Cast) -> None:
    page = empty_cast.as_(empty_cast.alice).get("/prompts/").content.decode()
    assert "No prompts yet" in page
    assert "x-llmobs-prompt: greet" in page


def test_each_version_stands_with_its_figures(empty_cast: Cast, prompt: Prompt) -> None:
    """S0-51, S2-19: versions, labels, what they cost and how good they are, in one place."""
    now = datetime.now(UTC) - timedelta(minutes=2)
    for _ in range(3):
        trace = write_call(empty_cast.acme.pk, "greet@1", now, cost_nanousd=250_000_000, duration_ms=1_500)
    Score.objects.create(tenant=empty_cast.acme, trace_id=trace, name="helpful", value=8, source="judge")
    page = empty_cast.as_(empty_cast.alice).get("/prompts/?version=2").content.decode()
    assert "$0.250" in page
    assert "1.50\u00a0s" in page
    assert "8.00" in page
    assert '<span class="badge">staging</span>' in page
    assert "shorter" in page
    assert "<ins>+ Answer {{name}} briefly.</ins>" in page
    assert "<del>− Answer {{name}}.</del>" in page
    assert "No call named it in this window." in page
    assert f"/traces/{trace.hex()}/" in empty_cast.as_(empty_cast.alice).get("/prompts/?version=1").content.decode()


def test_a_running_test_is_told_with_its_arms(empty_cast: Cast, prompt: Prompt) -> None:
    """S2-20, S2-21: arms with their shares and figures since the test began, and what is not known yet."""
    changes.start_test(prompt, [(2, 30)], "olga")
    write_call(empty_cast.acme.pk, "greet@2", datetime.now(UTC))
    page = empty_cast.as_(empty_cast.alice).get("/prompts/").content.decode()
    assert "greet · A/B test" in page
    assert "v1 70 % · v2 30 %" in page
    assert "too early to say" in page
    assert "0 of 100 calls in the smaller arm" in page


def test_who_left_the_test_out_is_shown(empty_cast: Cast, prompt: Prompt) -> None:
    """S2-23: a version that became current untested says so."""
    alice = empty_cast.as_(empty_cast.alice)
    assert "not tested" not in alice.get("/prompts/").content.decode()
    changes.set_current(prompt, 2, "olga")
    assert "not tested" in alice.get("/prompts/").content.decode()


def test_a_stranger_sees_nothing_of_another_tenants_prompts(empty_cast: Cast, prompt: Prompt) -> None:
    charlie = empty_cast.as_(empty_cast.charlie)
    for address in ("/prompts/", f"/prompts/?prompt={prompt.pk}&version=1"):
        page = charlie.get(address).content.decode()
        assert "No prompts yet" in page
        assert "Be kind" not in page
    assert charlie.get("/prompts/?tenant=acme").status_code == 404
    operator = empty_cast.as_(empty_cast.operator).get("/prompts/").content.decode()
    assert "greet" in operator
    assert "Acme" in operator


def test_more_prompts_are_no_more_questions(empty_cast: Cast, prompt: Prompt) -> None:
    alice = empty_cast.as_(empty_cast.alice)
    alice.get("/prompts/")
    counts = []
    for name in ("a", "b", "c"):
        with CaptureQueriesContext(connection) as queries:
            alice.get("/prompts/")
        counts.append(len(queries))
        changes.make(empty_cast.acme, name, ONE, "olga")
    assert counts[0] == counts[2]


@pytest.mark.parametrize(
    ("control", "variant", "words"),
    [
        (Result(calls=99), Result(calls=5_000), "too early to say"),
        (Result(calls=1_000, errors=10), Result(calls=1_000, errors=12), "no difference seen"),
        (Result(calls=1_000, errors=10), Result(calls=1_000, errors=60), "fails more often"),
        (Result(calls=1_000, errors=60), Result(calls=1_000, errors=10), "fails less often"),
        (
            Result(calls=200, score=7.0, score_deviation=1.0, judged=50),
            Result(calls=200, score=8.0, score_deviation=1.0, judged=50),
            "scores higher",
        ),
        (
            Result(calls=1_000, errors=10, score=7.0, score_deviation=1.0, judged=50),
            Result(calls=1_000, errors=60, score=9.0, score_deviation=1.0, judged=50),
            "fails more often",
        ),
        (
            Result(calls=200, score=7.0, score_deviation=1.0, judged=50),
            Result(calls=200, score=6.0, score_deviation=1.0, judged=50),
            "scores lower",
        ),
        (
            Result(calls=200, score=7.0, score_deviation=2.0, judged=50),
            Result(calls=200, score=7.5, score_deviation=2.0, judged=50),
            "no difference seen",
        ),
        (
            Result(calls=200, score=7.0, score_deviation=1.0, judged=29),
            Result(calls=200, score=9.0, score_deviation=1.0, judged=50),
            "no difference seen",
        ),
    ],
)
def test_a_verdict_needs_calls_and_a_difference_beyond_chance(control: Result, variant: Result, words: str) -> None:
    """S2-23: the test says when there is something to say, and not before."""
    assert verdict(control, variant).words == words


def test_a_difference_shows_what_was_changed_with_what_stands_around() -> None:
    assert changed_lines(ONE.messages, TWO.messages) == [
        (" ", "system:"),
        ("−", "Answer {{name}}."),
        ("+", "Answer {{name}} briefly."),
        (" ", "Be kind."),
    ]
    assert changed_lines(ONE.messages, ONE.messages) == []
