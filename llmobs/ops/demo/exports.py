"""The captured OTLP exports, ready to be posted: bodies byte for byte, with their exporters' own headers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EXPORTS = Path(__file__).parent / "data" / "otlp"

TRACES_PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
# Of the connection they were captured on, not of the export.
_NOT_SENT = {"host", "connection", "content-length", "authorization", "x-api-key", "te", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Export:
    """One traces request of a case."""

    case: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def request(self, host: str, key: str) -> bytes:
        """The whole HTTP request."""
        lines = [f"POST {self.path} HTTP/1.1", f"host: {host}", f"authorization: Bearer {key}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"content-length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(folder.parent.name for folder in EXPORTS.glob("*/headers.json"))


def exports() -> Iterator[Export]:
    """All traces requests, case by case in the order in which they were captured.

    A gRPC export is its protobuf message: posted over HTTP, as a collector between would forward it.
    """
    for case in cases():
        captured = json.loads((EXPORTS / case / "headers.json").read_text())
        for request in captured["requests"]:
            if request["signal"] != "traces":
                continue
            is_grpc = request["protocol"] == "grpc"
            headers = [(n, v) for n, v in request["headers"] if n.lower() not in _NOT_SENT]
            if is_grpc:
                headers.append(("content-type", PROTOBUF))
            body = (EXPORTS / case / request["file"]).read_bytes()
            yield Export(case, TRACES_PATH if is_grpc else request["path"], tuple(headers), body)


def span_count() -> int:
    """Spans over all cases, as the captures' own notes count them."""
    return sum(len(json.loads((EXPORTS / case / "truth.json").read_text())["spans"]) for case in cases())
