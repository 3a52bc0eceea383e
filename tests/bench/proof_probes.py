"""The proof's probes: a call that needs exactly what is left is granted; one that needs a nano-USD more is refused."""

import http.client
import json
from dataclasses import dataclass
from itertools import count

from llmobs.core.money import parse_usd
from tests.bench.proof_plan import KEYS, PROBE_LIMITS, secret_of
from tests.bench.proof_wire import request_bytes

MODEL = "gpt-4o-mini"
INPUT_NANOUSD, OUTPUT_NANOUSD = 150, 600  # for each token; a call's bound counts a token for each byte of its body
OUTPUT_TOKENS = 20
SECONDS = 20.0
_sessions = count(1)


@dataclass(frozen=True, slots=True)
class Probe:
    """What one probe came to. `calm`: no call of it was answered with 503, so that the ledger was open throughout."""

    tenant: str
    is_granted: bool
    is_calm: bool
    told: str

    @property
    def is_right(self) -> bool:
        return self.is_granted == (self.tenant == "exact")


def probe(port: int, tenant: str) -> Probe:
    """A first call spends something of a new session's budget; a second one needs just what is left, or one more."""
    session = f"probe-{next(_sessions)}"
    first = _call(port, tenant, session, _body(0))
    if first[0] != 200:
        return Probe(tenant, False, False, f"{session}: the first call was answered {first}")
    left = PROBE_LIMITS[tenant] - parse_usd(first[1])
    needed = left if tenant == "exact" else left + 1
    body_bytes, rest = divmod(needed - OUTPUT_TOKENS * OUTPUT_NANOUSD, INPUT_NANOUSD)
    assert rest == 0, "the limits of the probes are not what their arithmetic needs"
    second = _call(port, tenant, session, _body(body_bytes))
    told = f"{session}: {left} left, {needed} needed, answered {second}"
    return Probe(tenant, second[0] == 200, second[0] in (200, 429), told)


def _body(size: int) -> bytes:
    """A request of exactly so many bytes, or of as few as there can be."""
    made = json.dumps({"model": MODEL, "max_tokens": OUTPUT_TOKENS, "messages": [{"role": "user", "content": "@"}]})
    return made.replace("@", "a" * max(1, size - len(made) + 1)).encode()


def _call(port: int, tenant: str, session: str, body: bytes) -> tuple[int, str]:
    """Status, and the cost or the reason."""
    request = request_bytes("/v1/chat/completions", secret_of(tenant, KEYS[0]), {"session": session}, body)
    head = dict(line.split(": ", 1) for line in request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("POST", "/v1/chat/completions", body, {k: v for k, v in head.items() if k != "host"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, type(error).__name__
    finally:
        connection.close()
    return response.status, response.headers.get("x-llmobs-cost-usd") or response.headers.get("x-llmobs-reason") or ""
