"""docs/otlp.md names what is there: adapters, corrections, flags, the command, bounds."""

from pathlib import Path

import pytest
from django.urls import resolve

from llmobs.ingest import conformance, remap
from llmobs.ingest.otlp import (
    decode,
    genai,
    langfuse,
    litellm,
    mlflow,
    openinference,
    openlit,
    remains,
    remarks,
    traceloop,
    vercel,
)
from llmobs.ingest.otlp.adapters import ADAPTERS
from llmobs.ingest.otlp.remarks import CORRECTIONS, FLAGS
from llmobs.ingest.otlp.vectors import COUNT, DIMENSION
from llmobs.ops.management.commands.remap import Command
from llmobs.tenants.models import Tenant

PAGE = (Path(__file__).parents[2] / "docs" / "otlp.md").read_text()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: str(adapter.name))
def test_each_adapter_has_its_line(adapter: tuple[int, str, int]) -> None:
    assert f"\n| `{adapter[1]}` | " in PAGE


@pytest.mark.parametrize(
    "sign",
    [
        openinference.KIND, langfuse.TYPE, mlflow.TYPE, vercel.OPERATION, litellm.USAGE, openlit.SDK, traceloop.KIND,
        traceloop.REQUEST_TYPE, genai.OPERATION, COUNT, DIMENSION,
    ],
)  # fmt: skip
def test_each_sign_is_named_as_it_is(sign: str) -> None:
    assert f"`{sign}`" in PAGE


def test_each_correction_and_flag_is_explained_as_the_page_explains_it() -> None:
    for name, words in (CORRECTIONS | FLAGS).items():
        assert f"| `{name}` | {words} |" in PAGE


def test_bounds_are_those_of_the_code() -> None:
    assert f"At most {remains.MOST_ATTRIBUTES} of a span" in PAGE
    assert f"{remains.MOST_CHARACTERS_OF_AN_ATTRIBUTE:,} characters" in PAGE
    assert f"{remains.MOST_EVENTS} events, with {remains.MOST_ATTRIBUTES_OF_AN_EVENT} attributes" in PAGE
    assert f"of names {decode.MOST_CHARACTERS_OF_A_NAME} characters" in PAGE
    assert f"of a status message {decode.MOST_CHARACTERS_OF_A_MESSAGE:,}" in PAGE
    assert f"past {conformance.MOST_ROWS:,} lines" in PAGE
    assert f"past {remarks.MOST_UNKNOWN} of a span or {conformance.MOST_NAMES} of a library's day" in PAGE
    assert f"The first {remarks.MOST_NAME_CHARACTERS}\n  characters of each" in PAGE
    assert f"each lot of {remap.SPANS_PER_LOT} spans" in PAGE
    assert f"`{conformance.OTHERS}`" in PAGE


def test_the_command_the_page_and_the_setting_are_there() -> None:
    parser = Command().create_parser("manage.py", "remap")
    known = {option for action in parser._actions for option in action.option_strings}
    assert {"--from", "--to", "--tenant", "--apply", "--json"} <= known
    assert resolve("/conformance/").route
    assert Tenant._meta.get_field("raw_body_days").default == 0
    assert all(f"`{policy}`" in PAGE for policy in Tenant.Content.values)
