"""The response cache as a call meets it: asked in its admission, answered from, stored into at its end.

1. `wants`: whether the call may be answered from the cache, by its header, its key or its tenant; off costs nothing.
2. `joined`: where an identical call of this process is under way, its answer is waited for (gateway/single_flight.py).
3. The section is asked in the admission script (`words`): `met` makes a hit the call's answer, or waits for another
   gateway's flight; `missed` remembers what STORE needs. Another look-up (by meaning) has its place between the two.
4. `ended`: a whole, good answer is stored, and those who wait are told; `stale` answers in an emergency.

Entries rest in Valkey sealed with the installation's journal key, and say whose they are: one that was put under
another name is no answer. Fails open: without Valkey every call is a miss.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.cache_entry import MISS, Entry, Lookup, entry_of, kept_generations
from gateway.call import Answer, Call
from gateway.dialects import replay
from gateway.dialects.dialect import BadRequest
from gateway.dialects.wire import ODD
from gateway.errors import Refusal
from gateway.single_flight import LEASE_SECONDS, ClientGone, Flights, Renewal, look_again
from gateway.valkey import Away, Valkey
from llmobs.budgets.ledger import Command
from llmobs.budgets.scripts import Script
from llmobs.cache import scripts, store
from llmobs.cache.request_key import digest
from llmobs.cache.store import ALONE, LOOK, MOST_ENTRY_BYTES, REFRESH, Asking, Flying, Stored
from llmobs.ingest.seal import SealBroken, Sealer
from llmobs.tenants.caching import EXACT, OFF, SEMANTIC, ttl_for

STORE, LAND, RENEW, STALE, COUNT = (
    Script(f"cache {name}", text)
    for name, text in (
        ("store", scripts.STORE),
        ("land", scripts.LAND),
        ("renew", scripts.RENEW),
        ("stale", scripts.STALE),
        ("count", scripts.COUNT),
    )
)
SCRIPTS = (STORE, LAND, RENEW, STALE, COUNT)

HIT, STALE_HIT = "hit-exact", "stale"
CACHED = b"c"  # which section answered: second word of the admission's reply

# Whose content is not to be kept by us: their tenant's default is not enough, a key or a call must ask.
_KEEPS_NOTHING = frozenset({"none", "hash"})
# What of the caller's headers the provider sees and may answer by.
_TELLING = (b"anthropic-version", b"anthropic-beta", b"openai-beta")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def words(lookup: Lookup | None) -> tuple[Sequence[str], Sequence[str]]:
    """Keys and arguments of the cache's section in the admission script."""
    return store.section(lookup.asking if lookup is not None else None)


def is_cached(reply: Sequence[Any]) -> bool:
    """Whether the admission was answered by the cache."""
    return bool(reply[1] == CACHED)


class ResponseCache:
    """The cache's part of one process. All on one event loop."""

    def __init__(self, valkey: Valkey, key: bytes) -> None:
        self._valkey = valkey
        self._sealer = Sealer(key)
        self.flights: Flights[Entry] = Flights()

    # ------------------------------------------------------------ before the call is sent

    def wants(self, call: Call) -> Lookup | None:
        """What to ask for this call; None: nothing. Raises Refusal on a header that says what is not there."""
        tenant, asked = call.tenant, call.asked
        assert tenant is not None
        given = call.headers.get(b"x-llmobs-cache")
        mode = _said(given) if given is not None else call.key.cache or tenant.cache
        if mode == OFF:
            return None
        if given is None and not call.key.cache and tenant.content in _KEEPS_NOTHING:
            return None
        assert asked is not None
        feature = call.attribution.feature
        ttl_seconds = ttl_for(tenant.cache_ttl_seconds, feature)
        if not ttl_seconds:
            return None
        # As the route lists them: their order and who may be asked now differ from call to call.
        candidates = call.route.candidates if call.route is not None else call.candidates
        found = digest(
            call.body,
            call.dialect.serves,
            asked.model,
            [f"{c.provider.id} {c.provider.base_url} {c.model}" for c in candidates],
            call.prompt_version,
            [*(call.headers.get(header, b"") for header in _TELLING), tenant.sensitive_output.encode()],
        )
        if found is None:
            return None
        names = store.names_of((asked.model, *(c.model for c in candidates)), feature, call.prompt_version, _tags(call))
        call.cache = MISS
        asking = Asking(tenant.id, found, ttl_seconds, names, call.span_id.hex(), int(LEASE_SECONDS * 1000))
        asking.mode = REFRESH if mode == REFRESH else LOOK
        return Lookup(asking, tenant.cache_mb * 2**20)

    async def joined(self, call: Call, lookup: Lookup) -> bool:
        """Wait for an identical call of this process; True: its answer is the call's. Raises Refusal."""
        if lookup.asking.mode == REFRESH:
            return False
        flights, name = self.flights, lookup.name
        lookup.flight = flights.take_off(name)
        if lookup.flight is not None:
            return False
        deadline = _deadline(call, lookup)
        gone: asyncio.Future[Any] = asyncio.ensure_future(call.door.receive())
        try:
            while lookup.flight is None:
                entry = await flights.answer(name, gone, deadline)
                if entry is not None and self._answers(call, lookup, entry, 0):
                    saved = entry.input_tokens + entry.output_tokens, entry.cost_nanousd or 0
                    self._tell(COUNT, store.count_hit(lookup.asking, *saved))
                    return True
                if entry is not None or asyncio.get_running_loop().time() >= deadline:
                    lookup.asking.mode = ALONE
                    return False
                lookup.flight = flights.take_off(name)
            return False
        except ClientGone:
            raise _left(call) from None
        finally:
            gone.cancel()

    async def met(self, call: Call, lookup: Lookup, reply: Sequence[Any]) -> bool:
        """The admission answered from the cache. True: the call has its answer; False: ask again. Raises Refusal."""
        found = store.parse_hit(reply)
        if isinstance(found, Flying):
            await self._wait_elsewhere(call, lookup)
            return False
        entry = self._unsealed(lookup, found.blob)
        if entry is not None and self._answers(call, lookup, entry, found.age_seconds):
            return True
        lookup.asking.mode = REFRESH  # sealed with another key, or damaged: a new answer takes its place
        return False

    def missed(self, lookup: Lookup, ahead: Sequence[Any]) -> int:
        """There was none, and the call goes on; where in the admission's reply the next section's part begins."""
        lookup.values = ahead[0]
        if lookup.asking.mode == LOOK:
            lookup.renewal = Renewal(lambda: self._tell(RENEW, store.renew(lookup.asking)))
        return 1

    async def _wait_elsewhere(self, call: Call, lookup: Lookup) -> None:
        """Until no other gateway flies this request, or patience ends: then the call goes alone."""
        clock, deadline = asyncio.get_running_loop().time, _deadline(call, lookup)
        gone: asyncio.Future[Any] = asyncio.ensure_future(call.door.receive())
        mark = store.flight_key(*lookup.name)
        try:
            while clock() < deadline:
                await look_again(gone)
                if await self._valkey.call("EXISTS", mark) != 1:
                    return
        except ClientGone:
            raise _left(call) from None
        except Away:
            pass
        finally:
            gone.cancel()
        lookup.asking.mode = ALONE

    # ------------------------------------------------------------ answers

    def _unsealed(self, lookup: Lookup, blob: bytes) -> Entry | None:
        try:
            entry = _decode(self._sealer.unseal(blob))
        except (SealBroken, msgspec.MsgspecError):
            return None
        return entry if (entry.tenant_id, entry.digest) == lookup.name else None

    def _answers(self, call: Call, lookup: Lookup, entry: Entry, age_seconds: int, is_stale: bool = False) -> bool:
        """Make an entry the call's answer: a fresh id, no usage, in the form that was asked for."""
        asked, dialect = call.asked, call.dialect
        assert asked is not None
        response_id = replay.own_id(dialect, call.span_id.hex())
        try:
            body = replay.fresh(dialect, entry.body, response_id)
            if asked.is_stream:
                body = replay.as_stream(dialect, body, asked.wants_usage)
        except (BadRequest, *ODD):
            return False
        kind = b"text/event-stream" if asked.is_stream else b"application/json"
        headers = [(b"content-type", kind), (b"age", b"%d" % age_seconds)]
        if asked.is_stream:
            headers.append((b"cache-control", b"no-cache"))
        else:
            headers.append((b"content-length", b"%d" % len(body)))
        call.answer = Answer(200, headers, body, is_stream=asked.is_stream)
        call.cache = STALE_HIT if is_stale else HIT
        call.answered_id = response_id
        if not is_stale:
            lookup.entry = entry
        if call.attempt is None or is_stale:
            call.own_headers += [
                (b"x-llmobs-provider", entry.provider.encode()),
                (b"x-llmobs-model", entry.model.encode("ascii", "replace")),
                (b"x-llmobs-attempts", b"%d" % len(call.attempts)),
            ]
        return True

    async def stale(self, call: Call) -> bool:
        """Answer with what is kept of this request, past its time too, but never once invalidated; marked as stale.

        False: the cache is off for the call, or has none.
        """
        lookup = call.cached
        if not isinstance(lookup, Lookup):
            return False
        try:
            reply = await self._valkey.run_script(Command(STALE, *store.stale(lookup.asking)))
        except Away:
            return False
        found = store.parse_stale(reply)
        entry = self._unsealed(lookup, found[0]) if found is not None else None
        if found is None or entry is None or not self._answers(call, lookup, entry, found[1], is_stale=True):
            return False
        call.degraded = "stale_cache"
        return True

    # ------------------------------------------------------------ the end

    def ended(self, call: Call, lookup: Lookup) -> None:
        """Store a good answer, and tell those who wait for it. Never raises; called once, however the call ended."""
        if lookup.renewal is not None:
            lookup.renewal.stop()
        entry = lookup.entry
        try:
            if entry is None:
                entry = entry_of(call, lookup)
                if entry is None or not self._stored(call, lookup, entry):
                    self._tell(LAND, store.land(lookup.asking))
        finally:
            if lookup.flight is not None:
                self.flights.land(lookup.name, lookup.flight, entry)

    def _stored(self, call: Call, lookup: Lookup, entry: Entry) -> bool:
        """Whether it was sent to be stored."""
        if lookup.values is None or len(entry.body) > MOST_ENTRY_BYTES:
            return False
        kept = kept_generations(call, lookup, entry)
        stored = Stored(
            names=[name for name, _ in kept],
            values=[value for _, value in kept],
            blob=self._sealer.seal(_encode(entry)),
            ttl_seconds=lookup.asking.ttl_seconds,
            most_bytes=lookup.most_bytes,
            saved_tokens=entry.input_tokens + entry.output_tokens,
            saved_nanousd=entry.cost_nanousd or 0,
        )
        self._tell(STORE, store.store(lookup.asking, stored))
        return True

    def _tell(self, script: Script, words: tuple[Sequence[Any], Sequence[Any]]) -> None:
        """Send what nobody waits for: lost, it costs a miss, or a wait for the end of a lease."""
        command = Command(script, *words)

        def answered(reply: "asyncio.Future[Any]") -> None:
            if reply.cancelled() or reply.exception() is not None:
                return
            if isinstance(reply.result(), Exception) and str(reply.result()).startswith("NOSCRIPT"):
                self._send(command.eval(), _looked_at)  # someone flushed the scripts

        self._send(command.evalsha(), answered)

    def _send(self, words: list[str], answered: Callable[["asyncio.Future[Any]"], None]) -> None:
        try:
            self._valkey.call(*words).add_done_callback(answered)
        except Away:
            pass


def _looked_at(reply: "asyncio.Future[Any]") -> None:
    if not reply.cancelled():
        reply.exception()  # a lost connection is told elsewhere


def _said(header: bytes) -> str:
    """What the caller's header asks for. Raises Refusal."""
    mode = header.strip().lower().decode("latin-1")
    if mode in (OFF, EXACT, REFRESH):
        return mode
    if mode == SEMANTIC:
        raise Refusal("invalid_request", "x-llmobs-cache: the semantic cache is not in this version; use exact")
    raise Refusal("invalid_request", "x-llmobs-cache is off, refresh or exact")


def _tags(call: Call) -> tuple[str, ...]:
    given = call.headers.get(b"x-llmobs-cache-tags")
    if given is None:
        return ()
    try:
        return store.tags_of(given.decode("utf-8", "replace"))
    except ValueError as error:
        raise Refusal("invalid_request", str(error)) from None


def _deadline(call: Call, lookup: Lookup) -> float:
    """Until when the call waits for others, all of its waiting together (the loop's clock)."""
    if not lookup.deadline:
        is_stream = call.asked is not None and call.asked.is_stream
        patience = call.first_byte_seconds if is_stream else call.whole_seconds
        lookup.deadline = asyncio.get_running_loop().time() + patience
    return lookup.deadline


def _left(call: Call) -> Refusal:
    call.is_client_gone = True
    return Refusal("client_gone", "the caller left while it waited for the answer to an identical request")
