"""A provider's admin API at the far end of the wire: pages, refusals and faults as scripted, on a port of its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Provider:
    """What it answers, by path: pages in order; and first of all, `faults` as (status, headers)."""

    pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def answer(self, address: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
        self.asked.append((path, query, headers))
        if self.faults:
            status, more = self.faults.pop(0)
            said = {"error": {"message": f"no: {headers.get('authorization') or headers.get('x-api-key')}"}}
            return status, more, json.dumps(said).encode()
        found = self.pages.get(path)
        if found is None:
            return 404, {}, b"{}"
        number = int(query.get("page", ["0"])[0])
        has_more = number + 1 < len(found)
        page = {**found[number], "has_more": has_more, "next_page": str(number + 1) if has_more else None}
        return 200, {}, json.dumps(page).encode()


@contextmanager
def provider_running(provider: Provider) -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, body = provider.answer(self.path, headers)
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test looks at what was asked."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}"
        yield provider
        server.shutdown()
        thread.join()


def planted_pages(reports: dict[tuple[str, str], str]) -> dict[str, list[dict[str, Any]]]:
    """The planted month's JSON under the addresses of both providers."""
    paths = {
        ("openai", "usage"): "/v1/organization/usage/completions",
        ("openai", "cost"): "/v1/organization/costs",
        ("anthropic", "usage"): "/v1/organizations/usage_report/messages",
        ("anthropic", "cost"): "/v1/organizations/cost_report",
    }
    empty = {"data": [{"start_time": 1793491200, "end_time": 1793577600, "results": []}]}
    pages = {path: json.loads(reports[key]) for key, path in paths.items()}
    return {**pages, "/v1/organization/usage/embeddings": [empty]}
