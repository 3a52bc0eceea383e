"""A judge's answer is read tolerantly and believed only when it fits the rubric."""

import json

import pytest

from llmobs.evals.verdict import MOST_CHARACTERS, VerdictError, read_verdict, system_prompt, user_prompt

CRITERIA = ["helpful and actionable", "no invented facts"]


def answer(**changes: object) -> str:
    whole = {
        "criteria": [{"criterion": name, "score": 8, "reason": "It says where to go."} for name in CRITERIA],
        "overall": 8,
        "verdict": "PASS",
        "reasoning": "Clear.",
    }
    return json.dumps(whole | changes)


def test_a_verdict_is_read_out_of_the_words_around_it() -> None:
    verdict = read_verdict(f"Here is my verdict:\n```json\n{answer()}\n```\nDone.", CRITERIA)
    assert (verdict.overall, verdict.verdict, verdict.criteria[1].score) == (8, "PASS", 8)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("I cannot judge this.", "no JSON object"),
        ('{"overall": 8}', "does not fit"),
        ("} nothing {", "no JSON object"),
        (answer(overall=11), "not within 1 to 10"),
        (answer(overall=0), "not within 1 to 10"),
        (answer(verdict="MAYBE"), "does not fit"),
        (answer(overall="8"), "does not fit"),
        (answer(criteria=[]), "not scored: helpful and actionable, no invented facts"),
    ],
)
def test_what_is_no_verdict_says_why(text: str, says: str) -> None:
    with pytest.raises(VerdictError, match=says):
        read_verdict(text, CRITERIA)


def test_the_rubric_lists_each_criterion() -> None:
    prompt = system_prompt(CRITERIA)
    assert prompt.startswith("You are a judge")
    assert "\n- helpful and actionable\n- no invented facts\n" in prompt


def test_a_long_conversation_is_cut_in_its_middle() -> None:
    prompt = user_prompt("a" * (MOST_CHARACTERS + 10), "short answer")
    assert "10 characters left out" in prompt
    assert "short answer" in prompt
    assert len(prompt) < MOST_CHARACTERS + 200
