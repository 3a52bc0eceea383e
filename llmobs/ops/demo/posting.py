"""Posts OTLP to the collector, as an exporter does: what it cannot take now is sent again when it says so."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llmobs.ops.demo.backfill import Batch
from llmobs.ops.demo.client import Client, ClientError, Response
from llmobs.ops.demo.exports import PROTOBUF, TRACES_PATH, Export

CONNECTIONS = 3
MOST_TRIES = 60
MOST_PAUSE_SECONDS = 5.0


class PostingError(Exception):
    """The collector did not take a body; the message says what it answered."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Spans sent, and those that the collector said cannot be."""

    spans: int = 0
    rejected: int = 0


async def post_exports(exports: Iterable[Export], address: tuple[str, int], key: str) -> Posted:
    """Post the captured exports one after the other. Raises PostingError."""
    rejected = 0
    async with Client(*address) as client:
        for export in exports:
            request = export.request(f"{address[0]}:{address[1]}", key)
            answer = await _send(client, request, export.case)
            if answer.headers.get("content-type", "").startswith(PROTOBUF):
                rejected += _rejected(answer)
    return Posted(0, rejected)


async def post_batches(
    batches: Iterable[Batch],
    address: tuple[str, int],
    keys: dict[str, str],
    on_posted: Callable[[int], None] = lambda _: None,
) -> Posted:
    """Post batches as they are made, a few at a time. Raises PostingError."""
    waiting = iter(batches)
    spans = rejected = 0

    async def work() -> None:
        nonlocal spans, rejected
        async with Client(*address) as client:
            for batch in waiting:  # one iterator for all: each batch is posted once
                answer = await _send(
                    client, _request(batch, address, keys[batch.tenant]), f"back-fill of {batch.tenant}"
                )
                spans += batch.span_count
                rejected += _rejected(answer)
                on_posted(batch.span_count)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return Posted(spans, rejected)


def _request(batch: Batch, address: tuple[str, int], key: str) -> bytes:
    head = (
        f"POST {TRACES_PATH} HTTP/1.1\r\nhost: {address[0]}:{address[1]}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: {PROTOBUF}\r\ncontent-length: {len(batch.body)}\r\n\r\n"
    )
    return head.encode() + batch.body


async def _send(client: Client, request: bytes, what: str) -> Response:
    said = ""
    for _ in range(MOST_TRIES):
        try:
            response = await client.request(request)
        except ClientError as error:
            said, pause = str(error), 1.0
        else:
            if response.status == 200:
                return response
            said = f"{response.status} {response.headers.get('x-llmobs-reason', '')}".strip()
            if response.status not in (429, 503):
                break
            pause = _pause_seconds(response.headers.get("retry-after", ""))
        await asyncio.sleep(pause)
    raise PostingError(f"the collector did not take the {what}: {said}")


def _pause_seconds(retry_after: str) -> float:
    try:
        return min(max(float(retry_after), 0.05), MOST_PAUSE_SECONDS)
    except ValueError:
        return 1.0


def _rejected(response: Response) -> int:
    answer = ExportTraceServiceResponse()
    answer.ParseFromString(response.body)
    return int(answer.partial_success.rejected_spans)
