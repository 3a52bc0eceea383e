"""How many tokens a call will take: four characters to begin with, then what the model's calls took."""

import json

import pytest

from gateway.dialects.anthropic import Anthropic
from gateway.dialects.openai import OpenAI
from gateway.estimate import FIRST_OUTPUT_TOKENS, MOST_MODELS, Estimates, text_bytes

WHO = ("openai", "gpt-4o-mini")


@pytest.mark.parametrize(("body_bytes", "tokens"), [(4, 1), (400, 100), (401, 100), (1, 1), (0, 1), (100_000, 25_000)])
def test_s0_23_a_token_is_four_characters_and_at_least_one(body_bytes: int, tokens: int) -> None:
    """S0-23: token estimate before the call: 1 token ~ 4 characters, at least 1."""
    assert Estimates().estimate_input(*WHO, body_bytes) == tokens


def test_what_a_model_took_is_what_it_is_estimated_by() -> None:
    """Chinese takes three bytes a character and about a token: a quarter of its characters would be far off."""
    estimates = Estimates()
    for _ in range(30):
        estimates.learn(*WHO, 3_000, 1_100)
    assert estimates.estimate_input(*WHO, 3_000) == 1_100
    assert estimates.estimate_input("openai", "another", 3_000) == 750


def test_a_model_that_is_asked_in_many_ways_is_estimated_with_a_margin() -> None:
    estimates = Estimates()
    for _ in range(50):
        estimates.learn(*WHO, 4_000, 1_000)
        estimates.learn(*WHO, 4_000, 3_000)
    assert estimates.estimate_input(*WHO, 4_000) >= 3_000
    assert 1_800 <= estimates.expected_input(*WHO, 4_000) <= 2_200


def test_a_change_of_what_is_asked_is_learned_within_some_calls() -> None:
    estimates = Estimates()
    for _ in range(1_000):
        estimates.learn(*WHO, 4_000, 1_000)
    for _ in range(60):
        estimates.learn(*WHO, 4_000, 2_000)
    assert 1_950 <= estimates.expected_input(*WHO, 4_000) <= 2_000


def test_short_requests_teach_nothing_and_models_remembered_are_bounded() -> None:
    estimates = Estimates()
    estimates.learn(*WHO, 20, 20)
    assert estimates.estimate_input(*WHO, 400) == 100
    for number in range(MOST_MODELS + 1):
        estimates.learn("openai", f"m{number}", 400, 400)
    assert estimates.estimate_input("openai", "m0", 400) == 100
    assert estimates.estimate_input("openai", f"m{MOST_MODELS}", 400) == 400


def test_an_answer_takes_its_ceiling_or_what_answers_took() -> None:
    estimates = Estimates()
    assert estimates.estimate_output(*WHO, 50) == 50
    assert estimates.estimate_output(*WHO, None) == FIRST_OUTPUT_TOKENS
    for tokens in [200] * 40:
        estimates.learn_output(*WHO, tokens)
    assert estimates.estimate_output(*WHO, None) == 200
    assert estimates.estimate_output(*WHO, 50) == 50


def test_a_picture_is_no_text_however_long_its_base64() -> None:
    data = "iVBOR" * 40_000
    openai = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    anthropic = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    for dialect, part in ((OpenAI(), openai), (Anthropic(), anthropic)):
        content = [{"type": "text", "text": "what is this?"}, part]
        body = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}]}).encode()
        seen, unseen = text_bytes(body, dialect.read(body))
        assert seen < 300
        assert unseen in (1_500, 3_000)  # a dialect may count a part and its source
