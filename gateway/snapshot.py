"""The gateway's configuration: one immutable snapshot, read from PostgreSQL, followed within a second.

1. A thread of its own polls the version twice a second (LISTEN/NOTIFY dies silently behind poolers) and loads all
   when it changed, in one repeatable read.
2. What was loaded is kept on disk too, sealed: a start without PostgreSQL uses it.
3. Files with credentials or certificates are looked at at each poll, and read again when they changed.
4. When the event loop has it, the heartbeat row says so: `apply` waits for that.

Fails open by design: with PostgreSQL away the last snapshot holds, revocations made meanwhile included once it is back.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from gateway.canary import CANDIDATE, TENANT
from gateway.target import files_of, ready
from gateway.upstream import Upstream
from gateway.watched import stamp
from llmobs.brake import pauses
from llmobs.brake.pauses import PauseInfo, Pauses
from llmobs.budgets import definition
from llmobs.budgets.canary import BUDGET, TENANT_ID
from llmobs.budgets.definition import BudgetInfo, Budgets
from llmobs.core.env import host_name, replace_file
from llmobs.ingest.seal import SealBroken, Sealer
from llmobs.limits import definition as limits
from llmobs.limits.definition import LimitInfo, Limits
from llmobs.pricing import book
from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.snapshots import SnapshotInfo
from llmobs.prompts import definition as prompting
from llmobs.prompts.definition import PromptInfo, Prompts
from llmobs.providers import registry
from llmobs.providers.registry import CandidateInfo, ProviderInfo, Registry, RouteInfo
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version
from llmobs.tenants.roster import KeyInfo, Roster, TenantInfo

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
BEAT_SECONDS = 2.0
SEEN_SECONDS = 10.0  # a gateway that was silent for longer is not counted
MOST_REMEMBERED = 20_000  # answers of routing and of ceilings; when full they are forgotten and found anew
# Without a ceiling of the request, the model's, or a context window: as much as the longest outputs documented.
UNKNOWN_CEILING_TOKENS = 131_072
# What is sent where the format demands a ceiling and the model's is not known: an API refuses more than its model has.
DEMANDED_CEILING_TOKENS = 8_192


class Stored(msgspec.Struct, array_like=True):
    """The snapshot's data, as it rests on disk. Credentials are references or sealed: nothing in plain."""

    version: int
    tenants: list[TenantInfo]
    keys: list[KeyInfo]
    providers: list[ProviderInfo]
    routes: list[RouteInfo]
    budgets: list[BudgetInfo]
    overrides: list[Override]
    prompts: list[PromptInfo]
    limits: list[LimitInfo] = []
    pauses: list[PauseInfo] = []
    signed_prices: list[SnapshotInfo] = []
    trusted_providers: list[str] = []


class Snapshot:
    """Configuration as of one version. Immutable but for what it remembers of its own answers."""

    def __init__(
        self, stored: Stored, upstream: Upstream, encryption_keys: tuple[str, ...], canary: KeyInfo | None = None
    ) -> None:
        self.stored = stored
        self.version = stored.version
        is_canary_there = canary is not None
        own_tenants, own_keys = ([TENANT], [canary]) if canary is not None else ([], [])
        self.roster = Roster([*stored.tenants, *own_tenants], [*stored.keys, *own_keys])
        self.registry = Registry(stored.providers, stored.routes)
        self.budgets = Budgets([*stored.budgets, *([BUDGET] if is_canary_there else [])], stored.version)
        self.limits = Limits(stored.limits)
        self.pauses = Pauses(stored.pauses)
        self.book = PriceBook(stored.overrides, signed=stored.signed_prices, trusted=stored.trusted_providers)
        self.prompts = Prompts(stored.prompts)
        self.files = files_of(stored.providers)  # as they were before they are read
        self.targets = {p.id: ready(p, upstream, encryption_keys) for p in stored.providers}
        # Tiers of service that a provider may give to requests that name none, of those that may give any.
        self.unasked: dict[int, tuple[str, ...]] = {}
        for provider in stored.providers:
            self.hold_for(provider.id, (*_word(provider.default_service_tier), *provider.seen_tiers))
        self._candidates: dict[tuple[int, str, str], tuple[CandidateInfo, ...]] = {}
        self._ceilings: dict[tuple[int, int, str], int] = {}

    def hold_for(self, provider_id: int, tiers: tuple[str, ...]) -> None:
        """Requests of that provider that name no tier are held at the dearest of these too."""
        if tiers:
            self.unasked[provider_id] = tuple(dict.fromkeys((*self.unasked.get(provider_id, ()), *tiers)))

    def seen_tiers(self, provider_id: int) -> tuple[str, ...]:
        """Tiers that the database knows to be given unasked."""
        return next((p.seen_tiers for p in self.stored.providers if p.id == provider_id), ())

    def has_old_files(self) -> bool:
        """Whether a file with a credential or certificates is another by now."""
        return any(stamp(path) != then for path, then in self.files.items())

    def candidates(self, tenant_id: int, model: str, dialect: str, at_ns: int) -> tuple[CandidateInfo, ...]:
        """Who can answer for `model`, in order; empty: nobody is known to."""
        key = (tenant_id, model, dialect)
        found = self._candidates.get(key)
        if found is None:

            def serves(provider: ProviderInfo, asked: str) -> bool:
                return self.book.price(tenant_id, provider.priced_as, asked, at_ns) is not None

            found = self.registry.candidates(model, serves, dialect) if tenant_id != TENANT_ID else (CANDIDATE,)
            _remember(self._candidates, key, found)
        return found

    def ceiling(self, tenant_id: int, provider: ProviderInfo, model: str, at_ns: int) -> int:
        """The most tokens that the model answers with when a request sets no ceiling."""
        key = (tenant_id, provider.id, model)
        found = self._ceilings.get(key)
        if found is None:
            found = self.book.max_output_tokens(tenant_id, provider.priced_as, model, at_ns) or (
                DEMANDED_CEILING_TOKENS
                if provider.dialect == "anthropic"
                else self.book.context_window(provider.priced_as, model) or UNKNOWN_CEILING_TOKENS
            )
            _remember(self._ceilings, key, found)
        return found


def _word(given: str) -> tuple[str, ...]:
    return (given,) if given else ()


def _remember(kept: dict[Any, Any], key: Any, value: Any) -> None:
    if len(kept) >= MOST_REMEMBERED:
        kept.clear()
    kept[key] = value


def load(conn: psycopg.Connection[Any]) -> Stored:
    """Read all configuration at one moment."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        version = config_version(conn)
        who, registered, prices = roster.load(conn), registry.load(conn), book.load(conn)
        return Stored(
            version,
            list(who.tenants.values()),
            list(who.keys.values()),
            list(registered.providers.values()),
            list(registered.routes.values()),
            list(definition.load(conn).infos),
            prices.overrides,
            list(prompting.load(conn).infos),
            list(limits.load(conn).infos),
            pauses.load(conn),
            prices.signed,
            sorted(prices.trusted),
        )


class SnapshotFile:
    """The snapshot on disk, sealed, replaced in one step."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._sealer = Sealer(key)

    def write(self, stored: Stored) -> None:
        try:
            replace_file(self._path, self._sealer.seal(msgspec.msgpack.encode(stored)))
        except OSError as error:
            log.warning("the snapshot could not be kept on disk: %s", error.strerror)

    def read(self) -> Stored | None:
        """None: there is none, or of another key or version of llmobs."""
        try:
            return msgspec.msgpack.decode(self._sealer.unseal(self._path.read_bytes()), type=Stored)
        except (OSError, SealBroken, msgspec.MsgspecError):
            return None


class SnapshotKeeper:
    """Follows the configuration on a thread of its own; `install` is called on the event loop."""

    def __init__(
        self,
        database_url: str,
        owner: str,
        file: SnapshotFile,
        make: Callable[[Stored], Snapshot],
        install: Callable[[Snapshot], None],
        canary: Callable[[], str] = str,
        beside: Callable[[psycopg.Connection[Any]], None] | None = None,
    ) -> None:
        self._database_url = database_url
        self._owner = owner
        self._file = file
        self._make = make
        self._install = install
        self._beside = beside  # what this process has to write down
        self._canary = canary  # what the heartbeat says of it
        self._loop = asyncio.get_running_loop()
        self._version = -1
        self._snapshot: Snapshot | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self.is_database_away = False
        self.gateways = 1  # seen lately, this one too; while PostgreSQL is away as many as last seen

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._database_url, autocommit=True, **PATIENCE) as conn:
                    self._follow(conn)
            except psycopg.Error as error:
                if not self.is_database_away:
                    log.warning("PostgreSQL is away: the last snapshot holds (%s)", type(error).__name__)
                self.is_database_away = True
            except Exception:  # the thread's outermost loop: a bad row must not end the following of all others
                log.exception("the configuration cannot be read: the last snapshot holds")
            if self._version < 0:
                self._use_file()
            self._read_files_again()
            self._stopping.wait(POLL_SECONDS)

    def _follow(self, conn: psycopg.Connection[Any]) -> None:
        polls = 0
        while not self._stopping.is_set():
            if self._beside is not None:
                self._beside(conn)
            changed = self._poll(conn)
            self.is_database_away = False
            if changed or polls % int(BEAT_SECONDS / POLL_SECONDS) == 0:
                _beat(conn, self._owner, self._version, self._canary())
                self.gateways = _count_gateways(conn)
            polls += 1
            self._stopping.wait(POLL_SECONDS)
        conn.execute("DELETE FROM heartbeat WHERE owner = %s", (self._owner,))

    def _poll(self, conn: psycopg.Connection[Any]) -> bool:
        if config_version(conn) == self._version:
            self._read_files_again()
            return False
        stored = load(conn)
        self._hand_over(stored)
        self._file.write(stored)
        return True

    def _read_files_again(self) -> None:
        if self._snapshot is not None and self._snapshot.has_old_files():
            version = self._version
            self._hand_over(self._snapshot.stored)
            self._version = version

    def _use_file(self) -> None:
        stored = self._file.read()
        if stored is not None:
            log.warning("started from the snapshot on disk, version %d", stored.version)
            self._hand_over(stored)
            self._version = 0  # whatever PostgreSQL has, when it is back, is read

    def _hand_over(self, stored: Stored) -> None:
        snapshot = self._snapshot = self._make(stored)
        installed = threading.Event()

        def install() -> None:
            self._install(snapshot)
            installed.set()

        self._loop.call_soon_threadsafe(install)
        installed.wait(timeout=5.0)
        self._version = stored.version


PATIENCE: dict[str, Any] = {
    "connect_timeout": 3,
    "application_name": "llmobs gateway",
    "options": "-c statement_timeout=5000",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}
_BEAT = """
INSERT INTO heartbeat (owner, kind, host, pid, config_version, canary) VALUES (%s, 'gateway', %s, %s, %s, %s)
ON CONFLICT (owner) DO UPDATE SET kind = 'gateway', host = excluded.host, pid = excluded.pid,
    config_version = excluded.config_version, canary = excluded.canary, seen_at = now()
"""

_GATEWAYS = "SELECT count(*) FROM heartbeat WHERE kind = 'gateway' AND seen_at > now() - make_interval(secs => %s)"


def _beat(conn: psycopg.Connection[Any], owner: str, version: int, canary: str) -> None:
    conn.execute(_BEAT, (owner, host_name(), os.getpid(), version, canary))


def _count_gateways(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute(_GATEWAYS, (SEEN_SECONDS,)).fetchone()
    return max(1, int(row[0])) if row is not None else 1
