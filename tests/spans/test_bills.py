"""What a bill says of its response."""

from typing import Any

import psycopg

from llmobs.core import semconv
from tests.ingest.making import call, commit, make_tenant


def test_the_providers_id_is_on_the_bills_of_the_gateway_alone(pg: psycopg.Connection[Any]) -> None:
    make_tenant(pg)
    own = call(response_id="chatcmpl-of-the-gateway", source=semconv.SOURCE_GATEWAY)
    commit(pg, own, call(response_id="chatcmpl-of-a-report"))
    assert sorted(pg.execute("SELECT source, response_id FROM bill").fetchall()) == [
        (semconv.SOURCE_GATEWAY, "chatcmpl-of-the-gateway"),
        (semconv.SOURCE_OTLP, ""),
    ]
    assert len(pg.execute("SELECT FROM span WHERE response_id LIKE 'chatcmpl-of-%'").fetchall()) == 2
