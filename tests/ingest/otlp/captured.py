"""The captured exports under the demo's data, each with what the provider truly did (`truth.json`)."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp.decode import decode
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

FOLDER = Path(__file__).parents[3] / "llmobs/ops/demo/data/otlp"
CASES = sorted(path.parent.name for path in FOLDER.glob("*/truth.json"))
KEY = Attribution(key_id=7)


@cache
def truth(case: str) -> Any:
    return json.loads((FOLDER / case / "truth.json").read_text())


@cache
def bodies(case: str) -> list[tuple[bytes, str]]:
    """(decompressed body, content type) of each traces request, in order of arrival."""
    requests = json.loads((FOLDER / case / "headers.json").read_text())["requests"]
    return [_body(case, request) for request in requests if request["signal"] == "traces"]


def _body(case: str, request: Any) -> tuple[bytes, str]:
    headers = {name.lower(): value for name, value in request["headers"]}
    body = (FOLDER / case / request["file"]).read_bytes()
    if request["protocol"] == "grpc":
        return body, "application/x-protobuf"
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return body, headers["content-type"]


def captured_at_ns(case: str) -> int:
    return int(max(span["end_ns"] for span in truth(case)["spans"])) + 1_000_000_000


def spans_by_body(case: str) -> list[list[Span]]:
    at_ns = captured_at_ns(case)
    return [decode(OtlpBody(1, KEY.key_id, at_ns, kind, body), KEY) for body, kind in bodies(case)]


def spans(case: str) -> list[Span]:
    return [span for body in spans_by_body(case) for span in body]
