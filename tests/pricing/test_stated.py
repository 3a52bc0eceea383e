"""The provider's own word: beside ours, and instead of ours only where an operator trusts it."""

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from gateway.ending import record_attempt
from llmobs.core import semconv
from llmobs.ingest.translate import Config, Piece, Translator
from llmobs.ops.verify import verify
from llmobs.pricing import book
from llmobs.pricing.book import PriceBook
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from tests.ingest.making import START_NS, call, commit, make_tenant

Connection = psycopg.Connection[Any]


def priced(span: Span, *trusted: str) -> tuple[int | None, str]:
    config = cast("Config", SimpleNamespace(book=PriceBook(trusted=trusted)))
    Translator(config)._price(span, Piece(cast("Any", None)))
    return span.cost_nanousd, span.price_version.split(" #")[0]


@pytest.mark.parametrize(
    ("trusted", "due"), [("openai", (777, "stated by openai")), ("openrouter", (450_000, book.BUNDLED))]
)
def test_a_report_costs_what_it_states_where_its_provider_is_trusted(trusted: str, due: tuple[int, str]) -> None:
    span = call(usage=Usage(1000, output=500), stated_cost_nanousd=777, cost_nanousd=None, price_version="")
    assert priced(span, trusted) == due


@pytest.mark.parametrize(
    ("trusted", "due"), [("openrouter", (777, "stated by openrouter")), ("openai", (450_000, book.BUNDLED))]
)
def test_a_call_costs_what_is_stated_where_its_provider_is_trusted(trusted: str, due: tuple[int, str]) -> None:
    prices = PriceBook(trusted=[trusted])
    outcome = SimpleNamespace(
        usage=Usage(1000, output=500), stated_nanousd=777, cost_nanousd=None, price_version="", status=semconv.OK
    )
    attempt = SimpleNamespace(
        outcome=outcome,
        price=prices.price(1, "openai", "gpt-4o-mini", START_NS),
        candidate=SimpleNamespace(provider=SimpleNamespace(name="openrouter")),
        findings=[],
        held_nanousd=10**9,
    )
    counts = SimpleNamespace(cost_nanousd=0, tokens={"input": 0, "output": 0}, calls={("openai", semconv.OK): 0})
    plane = SimpleNamespace(
        counts=counts, snapshot=SimpleNamespace(book=prices), recorder=SimpleNamespace(end=lambda *told: None)
    )
    call_ = SimpleNamespace(dialect=SimpleNamespace(name="openai"))
    record_attempt(cast("Any", call_), cast("Any", attempt), cast("Any", plane))
    assert (outcome.cost_nanousd, outcome.price_version.split(" #")[0]) == due
    assert counts.cost_nanousd == due[0]


def test_verify_asks_no_rates_of_a_providers_word(pg: Connection) -> None:
    make_tenant(pg)
    commit(pg, call(cost_nanousd=777, stated_cost_nanousd=777, price_version="stated by openai"))
    assert [str(d) for d in verify(pg).differences] == []


def test_the_book_has_the_trusted_providers(pg: Connection) -> None:
    pg.execute("INSERT INTO pricing_trustedprovider (provider, created_at) VALUES ('openrouter', now())")
    assert book.load(pg).trusted == {"openrouter"}
