"""`attribution` stamps every span below it: nested, in threads, pools, tasks, and by baggage."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import context, propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from llmobs.client import attribution, carry, headers
from llmobs.client.carrying import Threads
from llmobs.client.stamping import Stamp
from llmobs.ingest.otlp.reading import Reading
from llmobs.ingest.otlp.whom import attribute, origin
from llmobs.tenants.attribution import Attribution


class Spans:
    """A tracer, and what its spans say."""

    def __init__(self, **defaults: str) -> None:
        self._kept = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(Stamp(defaults))
        self._provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer: Tracer = self._provider.get_tracer("app")

    def work(self, name: str) -> None:
        with self.tracer.start_as_current_span(name):
            pass

    def told(self) -> dict[str, dict[str, Any]]:
        return {span.name: dict(span.attributes or {}) for span in self._kept.get_finished_spans()}

    def parents(self) -> dict[str, str]:
        spans = self._kept.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans if span.context is not None}
        return {span.name: names[span.parent.span_id] for span in spans if span.parent is not None}


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def threads() -> Iterator[None]:
    carrying = Threads()
    carrying.enter()
    yield
    carrying.leave()


def test_every_span_below_is_stamped_and_none_after(spans: Spans) -> None:
    everything = attribution(feature="chat", user=42, session="s-1", environment="production")
    with everything, spans.tracer.start_as_current_span("outer"):
        spans.work("inner")
    spans.work("after")
    said = {
        "llmobs.feature": "chat", "llmobs.user": "42", "llmobs.session": "s-1", "llmobs.environment": "production",
    }  # fmt: skip
    assert spans.told() == {"inner": said, "outer": said, "after": {}}


def test_the_collector_reads_it_as_it_is_meant(spans: Spans) -> None:
    with attribution(feature="chat", user="u", session="s", environment="staging"):
        spans.work("call")
    shop = origin({"service.name": "shop"}, Attribution(key_id=7))
    read = attribute(dict(spans.told()["call"]), shop, Reading())
    assert read == Attribution("shop", "staging", "chat", "u", "s", 7)


def test_an_inner_one_adds_overrides_and_takes_away(spans: Spans) -> None:
    with attribution(feature="chat", user="alice"):
        with attribution(feature="search", session="s"):
            spans.work("added")
        with attribution(user=""):
            spans.work("taken")
        spans.work("again")
    assert spans.told() == {
        "added": {"llmobs.feature": "search", "llmobs.user": "alice", "llmobs.session": "s"},
        "taken": {"llmobs.feature": "chat"},
        "again": {"llmobs.feature": "chat", "llmobs.user": "alice"},
    }


def test_what_a_span_says_itself_stays(spans: Spans) -> None:
    with attribution(user="alice"):
        spans.tracer.start_span("own", attributes={"llmobs.user": "bob"}).end()
        spans.tracer.start_span("root", context=context.Context()).end()
    assert spans.told() == {"own": {"llmobs.user": "bob"}, "root": {"llmobs.user": "alice"}}


def test_defaults_hold_where_nothing_is_said() -> None:
    spans = Spans(environment="production")
    spans.work("plain")
    with attribution(environment="test"):
        spans.work("said")
    assert spans.told() == {"plain": {"llmobs.environment": "production"}, "said": {"llmobs.environment": "test"}}


def test_tasks_of_asyncio_have_each_their_own(spans: Spans) -> None:
    async def of(user: str) -> None:
        with attribution(user=user):
            await asyncio.sleep(0)
            spans.work(user)
            await asyncio.to_thread(spans.work, f"{user}'s thread")

    async def all_of_them() -> None:
        with attribution(feature="chat"):
            await asyncio.gather(*(of(f"u{number}") for number in range(20)))

    asyncio.run(all_of_them())
    for name, said in spans.told().items():
        assert said == {"llmobs.feature": "chat", "llmobs.user": name.removesuffix("'s thread")}
    assert len(spans.told()) == 40


@pytest.mark.usefixtures("threads")
def test_tasks_of_a_pool_have_the_context_they_were_submitted_in(spans: Spans) -> None:
    with ThreadPoolExecutor(2) as pool:
        for number in range(10):
            with attribution(user=f"u{number}"):
                pool.submit(spans.work, f"u{number}")
        pool.submit(spans.work, "nobody")
    told = spans.told()
    assert told.pop("nobody") == {}
    assert told == {f"u{number}": {"llmobs.user": f"u{number}"} for number in range(10)}


@pytest.mark.usefixtures("threads")
def test_a_thread_goes_on_in_the_trace_of_whoever_started_it(spans: Spans) -> None:
    with attribution(user="alice"), spans.tracer.start_as_current_span("request"):
        started = threading.Thread(target=spans.work, args=("thread",))
        started.start()
        started.join()
    assert spans.told()["thread"] == {"llmobs.user": "alice"}
    assert spans.parents() == {"thread": "request"}


@pytest.mark.usefixtures("threads")
def test_a_worker_that_serves_all_is_not_of_whoever_came_first(spans: Spans) -> None:
    with attribution(user="alice"):
        worker = threading.Thread(target=spans.work, args=("worker",), daemon=True)
        worker.start()
        worker.join()
    assert spans.told() == {"worker": {}}


def test_where_threads_are_left_alone_a_function_is_carried_by_hand(spans: Spans) -> None:
    with attribution(user="alice"):
        carried = carry(spans.work)
    other = threading.Thread(target=carried, args=("carried",))
    other.start()
    other.join()
    assert spans.told() == {"carried": {"llmobs.user": "alice"}}


def test_leaving_gives_python_its_own_back() -> None:
    before = ThreadPoolExecutor.submit, threading.Thread.start
    carrying = Threads()
    carrying.enter()
    assert (ThreadPoolExecutor.submit, threading.Thread.start) != before
    carrying.leave()
    assert (ThreadPoolExecutor.submit, threading.Thread.start) == before


def test_functions_are_decorated_async_ones_too(spans: Spans) -> None:
    @attribution(feature="f")
    def plain(name: str) -> None:
        spans.work(name)

    @attribution(feature="g")
    async def later(name: str) -> None:
        await asyncio.sleep(0)
        spans.work(name)

    plain("one")
    asyncio.run(later("two"))
    assert spans.told() == {"one": {"llmobs.feature": "f"}, "two": {"llmobs.feature": "g"}}


def test_only_what_is_propagated_leaves_as_baggage_and_is_heard_by_the_next_service(spans: Spans) -> None:
    kept: dict[str, str] = {}
    with attribution(user="alice"):
        propagate.inject(kept)
    assert kept == {}
    sent: dict[str, str] = {}
    with attribution(user="Jörg & co", feature="chat", propagate=True):
        propagate.inject(sent)
    token = context.attach(propagate.extract(sent))
    spans.work("next service")
    context.detach(token)
    assert spans.told() == {"next service": {"llmobs.user": "Jörg & co", "llmobs.feature": "chat"}}


def test_headers_for_the_gateway_name_the_trace_and_whom_it_is_for(spans: Spans) -> None:
    with attribution(feature="chat\nx-evil: 1", user="Jörg"), spans.tracer.start_as_current_span("call") as span:
        found = headers()
        here = span.get_span_context()
    assert found == {
        "x-llmobs-feature": "chat x-evil: 1",
        "x-llmobs-user": "J?rg",
        "traceparent": f"00-{here.trace_id:032x}-{here.span_id:016x}-{int(here.trace_flags):02x}",
    }
    assert headers() == {}
