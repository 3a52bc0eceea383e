"""The canary: a key with a budget of zero that this gateway tries at its start, through its own door.

1. The snapshot knows its tenant, key, budget and candidate; no table does. The call is HTTP, on a connection that this
   process accepts from itself, and passes every stage: authenticated, routed, priced, held in the ledger's script.
2. Refused with `budget_exhausted`: budgets are enforced here. A ledger that recovers, or a limit for everybody, says
   nothing of that: it is tried again.
3. Anything else, and `/readyz` answers 503 and says so, until a later try is refused.

Its candidate has no connection to anywhere: a call that should ever pass is not sent. Nothing of it is journalled.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable

import msgspec

from llmobs.budgets.canary import TENANT_ID
from llmobs.providers.registry import CandidateInfo, ProviderInfo
from llmobs.tenants.keys import secret_hash
from llmobs.tenants.roster import CEILING, KeyInfo, TenantInfo

log = logging.getLogger(__name__)

REFUSED = "refused"  # what the heartbeat says of it; "" while it is not known, else what happened instead
AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 10.0

# They say nothing of budgets, and pass.
_LATER = frozenset({"budget_unavailable", "not_ready", "quota_exhausted", "journal_full"})

MODEL = "gpt-4o-mini"  # has a price wherever llmobs runs; without one the key's ceiling is held
CANDIDATE = CandidateInfo(ProviderInfo(0, "canary", "openai", "http://canary.invalid", "", {}, "openai"), MODEL)
TENANT = TenantInfo(TENANT_ID, "llmobs-canary", "canary", "none", "none", "UTC", 1, True)
_BODY = msgspec.json.encode({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "canary"}]})


class Canary:
    """One process's canary. `state` is what the heartbeat says."""

    def __init__(self) -> None:
        self._secret = f"canary-{secrets.token_hex(24)}"
        self.state = ""

    def key(self) -> KeyInfo:
        """As the snapshot knows it: for this process alone."""
        hashed = secret_hash(self._secret)
        names = ("llmobs", "", "", (), "background", "off", CEILING)
        return KeyInfo(0, TENANT_ID, "canary", hashed, *names, None, None, unpriced_nanousd=1)

    @property
    def problem(self) -> str:
        """Why this gateway must not serve; "": it may."""
        if self.state in ("", REFUSED):
            return ""
        return f"a call under a budget of zero was not refused ({self.state})"

    async def sing(self, accept: Callable[[], asyncio.Protocol], is_there: Callable[[], bool]) -> None:
        """Try until it is refused. `accept` makes the server's side of a connection; `is_there`: it serves."""
        while self.state != REFUSED:
            if is_there():
                self._heard(*await self._tried(accept))
            if self.state != REFUSED:
                await asyncio.sleep(AGAIN_SECONDS)

    def _heard(self, status: int, reason: str) -> None:
        if reason == "budget_exhausted":
            self.state = REFUSED
        elif status and reason not in _LATER and not reason.startswith("rate_limited"):
            self.state = f"{status} {reason or 'without a reason'}"
            log.error("the canary was not refused: %s. Budgets are not enforced here", self.state)

    async def _tried(self, accept: Callable[[], asyncio.Protocol]) -> tuple[int, str]:
        """Status and reason of the answer; 0: there was none in time."""
        ours, theirs = socket.socketpair()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.get_running_loop().connect_accepted_socket(accept, theirs)
                reader, writer = await asyncio.open_connection(sock=ours)
                writer.write(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: canary\r\nconnection: close\r\n"
                    b"content-type: application/json\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                    % (self._secret.encode(), len(_BODY), _BODY)
                )
                head = await reader.readuntil(b"\r\n\r\n")
                writer.close()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            ours.close()
            return 0, ""
        lines = head.decode("latin-1").split("\r\n")
        reasons = [line.partition(": ")[2] for line in lines if line.startswith("x-llmobs-reason: ")]
        return int(lines[0].split(" ")[1]), reasons[0] if reasons else ""
