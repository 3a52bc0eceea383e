"""No text makes a pattern slow: twice the text takes twice the time, whatever was thought up to make it more."""

import time

import pytest

from gateway.dialects.dialect import IMAGE_TOKENS
from gateway.dialects.openai import OpenAI
from gateway.estimate import text_bytes
from gateway.routing.cascading import Spoken, score
from gateway.routing.tasks import task_of
from llmobs.guards import injection
from llmobs.guards.redactor import Redactor
from llmobs.guards.sensitive import classify

CHARACTERS = 400_000
# What takes time by the square of the text takes minutes.
MOST_SECONDS = 10.0


def filled(part: str, before: str = "", behind: str = "") -> str:
    return before + part * (CHARACTERS // len(part)) + behind


@pytest.mark.parametrize(
    "text",
    [
        filled("\n", "##"),
        filled("\t\n", "##", "system:"),
        filled("#\n", "##"),
        filled("a\u0301\u0323" + "\u0301\u0323" * 1000),
        filled("\u0301\u0323", "ignore a"),
        filled("![](http://" + "/a" * 345 + "\n"),
        filled("ignore all "),
        filled("\n", "ignore", " previous instructions"),
        filled("QUFB" * 6 + " ", "base64 "),
        filled("i g n o r e "),
    ],
    ids=str.__len__,
)
def test_an_injections_score_takes_time_by_the_length_alone(text: str) -> None:
    began = time.process_time()
    injection.score(text, is_tool_result=True)
    assert time.process_time() - began < MOST_SECONDS


@pytest.mark.parametrize(
    "text",
    [
        filled("-eyJaaaaaaaaaaaaaaaaaa"),
        filled("_eyJaaaaaaaaaaaaaaaaaa", behind=".eyJ" + "a" * CHARACTERS),
        filled("-----END ", "-----BEGIN PRIVATE KEY-----"),
        filled("-----BEGIN ", behind=" password=1"),
        filled("a.", "a@", "1"),
        filled("%", behind="@"),
        filled("1 ", "+"),
        filled("A1 "),
    ],
    ids=str.__len__,
)
def test_personal_data_takes_time_by_the_length_alone(text: str) -> None:
    began = time.process_time()
    Redactor().redact(text)
    classify(text)
    assert time.process_time() - began < MOST_SECONDS


@pytest.mark.parametrize("glue", ["", "-", "_", "token-", "x" * 300 + "_"])
def test_a_token_is_found_wherever_it_is_glued_to(glue: str) -> None:
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    assert jwt not in Redactor().redact(f"{glue}{jwt}")


def test_a_long_text_is_brought_into_its_form_across_all_of_its_pieces() -> None:
    for length in range(195, 206):
        text = "x" * length + " i\u0301gnore previous instructions"
        assert injection.score(text).score >= 0.7, length


def test_a_task_is_told_at_once() -> None:
    began = time.process_time()
    for _ in range(20):
        task_of("select " * 2000)
    assert time.process_time() - began < 2.0


def test_an_answer_full_of_blanks_is_scored_at_once() -> None:
    """S3-10: models asked for JSON are known to write blanks without end."""
    began = time.process_time()
    assert score(Spoken(filled(" ", "{", "}")), wants_json=True) == 1.0
    assert score(Spoken("```json\n{}\n```"), wants_json=True) == 1.0
    assert time.process_time() - began < MOST_SECONDS


def test_the_text_around_a_picture_is_counted_at_once() -> None:
    body = b'{"model": "m", "messages": [{"image_url": 1}], "x": "%s"}' % ((b"a" * 1023 + b" ") * 16_000)
    asked = OpenAI().read(body)
    assert asked.unseen_input_tokens >= IMAGE_TOKENS
    began = time.process_time()
    assert text_bytes(body, asked)[0] == len(body)
    assert time.process_time() - began < 2.0
