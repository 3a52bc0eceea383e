"""The load of the fault table: exporters by HTTP and gRPC, callers with OpenAI's SDK; each notes what it was told.

An exporter sends a body again until it is acknowledged, as OTLP's exporters do; a caller never repeats a call.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import grpc
import openai
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from llmobs.core.clock import NS_PER_SECOND
from tests.bench.bodies import Bodies
from tests.bench.faults_platform import SECRET

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEADERS = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {SECRET}"}
AGAIN_SECONDS = 0.2  # after a connection that failed; what says when to come again is believed
GIVE_UP_SECONDS = 600.0  # for what is under way when the load ends
ANSWER_SECONDS = 20.0
BRIEF_WORDS = 5
LATE_ONE_IN, LATE_NS = 8, 26 * 3600 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Load:
    """How many send at once, how much, and how often each."""

    name: str
    http: int
    grpc: int
    callers: int
    spans: int  # of a request
    pause_seconds: float
    is_brief: bool = False  # hardly any content, so that a writer reads spans of several transactions at one turn


LIGHT = Load("light", http=1, grpc=1, callers=2, spans=10, pause_seconds=0.25)
HEAVY = Load("heavy", http=4, grpc=2, callers=8, spans=100, pause_seconds=0.02)
BRIEF = replace(HEAVY, is_brief=True)


@dataclass
class Said:
    """What the senders were told; read under `lock`, or after the load's end."""

    acknowledged: dict[bytes, bytes] = field(default_factory=dict)  # trace id by span id
    responses: set[str] = field(default_factory=set)  # of acknowledged spans and of answered calls: one bill each
    answered: int = 0  # calls
    failed: Counter[str] = field(default_factory=Counter)  # calls
    put_off: Counter[str] = field(default_factory=Counter)  # requests of exporters, that were sent again
    wrong: Counter[str] = field(default_factory=Counter)  # answers that an exporter does not repeat, or without a time
    given_up: int = 0  # spans
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def spans(self) -> int:
        with self.lock:
            return len(self.acknowledged)


class SomeLate(Bodies):
    """Some are of yesterday, which may be closed."""

    late_ns = 0
    is_brief = False

    def _trace(self, scope: ScopeSpans, spans: int, start: int) -> None:
        super()._trace(scope, spans, start - self.late_ns)

    def _messages(self, role: str, words: int) -> str:
        return super()._messages(role, min(words, BRIEF_WORDS) if self.is_brief else words)


class Running:
    """A load under way, from the beginning of the block to its end; then every body is acknowledged or given up."""

    def __init__(self, load: Load, gateway_port: int, grpc_port: int, seed: int) -> None:
        self.said = Said()
        self._load, self._seed = load, seed
        self._gateway_port, self._grpc_port = gateway_port, grpc_port
        self._stop = threading.Event()
        self._stopped_at = 0.0
        works = [self._http] * load.http + [self._grpc] * load.grpc + [self._calls] * load.callers
        self._threads = [threading.Thread(target=work, args=(seed * 1000 + n,)) for n, work in enumerate(works)]

    def __enter__(self) -> "Running":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped_at = time.monotonic()
        self._stop.set()
        for thread in self._threads:
            thread.join()

    # ------------------------------------------------------------ exporters

    def _http(self, seed: int) -> None:
        connection: list[http.client.HTTPConnection] = []

        def send(body: bytes) -> float | None:
            """None: acknowledged; else after how many seconds to send again."""
            if not connection:
                connection.append(http.client.HTTPConnection("127.0.0.1", self._gateway_port, timeout=ANSWER_SECONDS))
            try:
                connection[0].request("POST", "/v1/traces", body, HEADERS)
                answer = connection[0].getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.pop().close()
                return self._put_off(f"http {type(error).__name__}")
            if answer.status == 200:
                return None
            return self._refused(f"http {answer.status}", answer.status in (429, 503), answer.headers["retry-after"])

        self._export(SomeLate(seed), send)

    def _grpc(self, seed: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self._grpc_port}") as channel:
            export = channel.unary_unary(TRACES)

            def send(body: bytes) -> float | None:
                try:
                    export(body, timeout=ANSWER_SECONDS, metadata=[("authorization", f"Bearer {SECRET}")])
                except grpc.RpcError as error:
                    told = {name for name, _ in error.trailing_metadata() or ()}
                    code = error.code().name
                    if code == "UNAVAILABLE" and "google.rpc.retryinfo-bin" not in told:
                        return self._put_off(f"grpc {code}")  # nobody answered
                    if code in ("DEADLINE_EXCEEDED", "CANCELLED"):
                        return self._put_off(f"grpc {code}")
                    after = "1" if "google.rpc.retryinfo-bin" in told else None
                    return self._refused(
                        f"grpc {code}, come again", code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"), after
                    )
                return None

            self._export(SomeLate(seed), send)

    def _export(self, bodies: SomeLate, send: Callable[[bytes], float | None]) -> None:
        number = 0
        bodies.is_brief = self._load.is_brief
        while not self._stop.wait(self._load.pause_seconds):
            number += 1
            bodies.late_ns = 0 if number % LATE_ONE_IN else LATE_NS
            body = bodies.make(self._load.spans)
            while (again := send(body)) is not None:
                if self._stop.is_set() and time.monotonic() - self._stopped_at > GIVE_UP_SECONDS:
                    with self.said.lock:
                        self.said.given_up += self._load.spans
                    return
                time.sleep(again)
            self._note(body)

    def _note(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = request.resource_spans[0].scope_spans[0].spans
        found = [(span.span_id, span.trace_id) for span in spans]
        responses = [
            each.value.string_value for span in spans for each in span.attributes if each.key == "gen_ai.response.id"
        ]
        with self.said.lock:
            self.said.acknowledged.update(found)
            self.said.responses.update(responses)

    def _put_off(self, what: str) -> float:
        with self.said.lock:
            self.said.put_off[what] += 1
        return AGAIN_SECONDS

    def _refused(self, what: str, is_repeated: bool, after: str | None) -> float:
        with self.said.lock:
            if is_repeated and after is not None:
                self.said.put_off[what] += 1
            else:
                self.said.wrong[what if is_repeated else f"{what} is not repeated"] += 1
        return float(after or AGAIN_SECONDS)

    # ------------------------------------------------------------ callers

    def _calls(self, seed: int) -> None:
        url = f"http://127.0.0.1:{self._gateway_port}/v1"
        client = openai.OpenAI(base_url=url, api_key=SECRET, max_retries=0, timeout=ANSWER_SECONDS)
        number = 0
        while not self._stop.wait(self._load.pause_seconds):
            number += 1
            try:
                response_id = _ask(client, f"{seed} {number}", number % 2 == 0)
            except openai.APIStatusError as error:
                self._failed(str(error.response.headers.get("x-llmobs-reason", error.status_code)))
            except openai.OpenAIError as error:
                self._failed(type(error).__name__)
            except Exception as error:  # a stream that was cut: whatever its reader raises
                self._failed(type(error).__name__)
            else:
                with self.said.lock:
                    self.said.answered += 1
                    self.said.responses.add(response_id)
        client.close()

    def _failed(self, what: str) -> None:
        with self.said.lock:
            self.said.failed[what] += 1
        self._stop.wait(AGAIN_SECONDS)


def _ask(client: openai.OpenAI, words: str, streams: bool) -> str:
    """The response id of an answer that came whole."""
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}], "max_tokens": 20}
    if not streams:
        return str(client.chat.completions.create(**asked).id)  # type: ignore[call-overload]
    chunks = list(client.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    if not any(choice.finish_reason for chunk in chunks for choice in chunk.choices):
        raise EOFError("the stream broke off")
    return str(chunks[0].id)
