"""Brings the platform to what a configuration file says: all or nothing, and a second time nothing changes.

1. `configuration.parse` reads the file strictly.
2. One transaction makes and changes what the file names, each change with its audit entry. What the file does not
   name is left alone. Any error rolls all of it back.
3. `waiting.wait_until_live` returns once every running gateway has it (the command does that).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from llmobs.alerts.models import Channel
from llmobs.budgets.models import Budget
from llmobs.core.money import MOST_NANOUSD, MoneyError, parse_usd
from llmobs.evals.models import Judge
from llmobs.ops.configuration import (
    BudgetEntry,
    ChannelEntry,
    Configuration,
    ConfigurationError,
    JudgeEntry,
    KeyEntry,
    ModelEntry,
    Problem,
    ProviderEntry,
    RouteEntry,
    TenantEntry,
)
from llmobs.pricing.models import Price
from llmobs.providers.candidates import replace_candidates
from llmobs.providers.credentials import ENV, CredentialError, open_credential, store_form
from llmobs.providers.models import Candidate, Provider, Route
from llmobs.tenants import audit
from llmobs.tenants.audit import Outcome
from llmobs.tenants.keys import new_secret, prefix_of, secret_hash
from llmobs.tenants.models import Key, Tenant

M = TypeVar("M", bound=Model)

ACTOR = "apply"
SHORTEST_SECRET = 16  # characters; the secrets that we make have 50
APPLY_LOCK = 7_203_114  # advisory lock: one apply at a time
# A model's first price without a date holds for whatever was called before, too.
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
RATES = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cache_read_usd_per_mtok",
    "cache_write_5m_usd_per_mtok",
    "cache_write_1h_usd_per_mtok",
)


@dataclass(frozen=True)
class Applied:
    """What became of one entry."""

    outcome: Outcome
    kind: str
    name: str


@dataclass
class Report:
    """What `apply` did. `secrets` are new keys by name, to be shown once and never kept."""

    applied: list[Applied] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        return sum(1 for entry in self.applied if entry.outcome is outcome)

    @property
    def has_changes(self) -> bool:
        return any(entry.outcome is not Outcome.UNCHANGED for entry in self.applied)


def apply(
    configuration: Configuration,
    encryption_keys: Sequence[str],
    actor: str = ACTOR,
    is_dry_run: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Make what the configuration names. Raises ConfigurationError, and then nothing has changed."""
    applying = _Applying(actor, tuple(encryption_keys), environ, Report())
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [APPLY_LOCK])
        applying.run(configuration)
        if is_dry_run:
            transaction.set_rollback(True)
            applying.report.secrets.clear()  # they were never made
    return applying.report


@dataclass
class _Applying:
    actor: str
    encryption_keys: tuple[str, ...] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    report: Report

    def run(self, configuration: Configuration) -> None:
        for index, provider in enumerate(configuration.providers):
            with _at(f"providers[{index}]"):
                self._provider(provider, f"providers[{index}]")
        for index, model in enumerate(configuration.models):
            with _at(f"models[{index}]"):
                self._price(model)
        for index, route in enumerate(configuration.routes):
            self._route(route, f"routes[{index}]")
        for index, tenant in enumerate(configuration.tenants):
            self._tenant(tenant, f"tenants[{index}]")
        for index, judge in enumerate(configuration.judges):
            with _at(f"judges[{index}]"):
                self._judge(judge)
        for index, channel in enumerate(configuration.alert_channels):
            with _at(f"alert_channels[{index}]"):
                self._channel(channel)

    def _provider(self, entry: ProviderEntry, path: str) -> None:
        provider = _row(Provider, name=entry.name)
        provider.dialect, provider.base_url = entry.dialect, entry.base_url
        provider.prices_like, provider.headers = entry.prices_like, dict(entry.headers)
        provider.is_enabled = entry.is_enabled
        if not self._is_sealed_same(provider.credential, entry.credential):
            provider.credential = store_form(entry.credential, self.encryption_keys)
        variable = provider.credential.removeprefix(ENV)
        if variable != provider.credential and not self.environ.get(variable, "").strip():
            self.report.notes.append(
                f"{path}.credential: {variable} is not set here; it must be where the gateway runs, from its start"
            )
        self._save(provider)

    def _is_sealed_same(self, stored: str, given: str) -> bool:
        """Sealing gives another text each time: compare what is inside."""
        if not stored.startswith("sealed:"):
            return False
        try:
            return open_credential(stored, self.encryption_keys) == given.strip()
        except CredentialError:
            return False

    def _price(self, entry: ModelEntry) -> None:
        rates = {name: _rate(name, getattr(entry, name)) for name in RATES}
        if rates["input_usd_per_mtok"] is None and rates["output_usd_per_mtok"] is None:
            _refuse("", "a price has input_usd_per_mtok, output_usd_per_mtok or both")
        rows = Price.objects.filter(tenant=None, provider=entry.provider, model=entry.model)
        values = {**rates, "max_output_tokens": entry.max_output_tokens}
        if entry.effective_from is not None:
            at = _aware("effective_from", entry.effective_from)
            price = rows.filter(effective_from=at).first()
        else:
            price = rows.filter(effective_from__lte=timezone.now()).order_by("-effective_from").first()
            at = timezone.now() if price else ALWAYS
        if price is not None and any(getattr(price, name) != value for name, value in values.items()):
            if entry.effective_from is not None:
                _refuse("effective_from", "there is another price from this time on, and a price is never edited")
            price = None
        self._save(price or Price(provider=entry.provider, model=entry.model, effective_from=at, **values))

    def _route(self, entry: RouteEntry, path: str) -> None:
        with _at(path):
            route = _row(Route, name=entry.name)
            route.strategy = entry.strategy
            if not entry.candidates:
                _refuse("candidates", "a route has at least one candidate")
            outcome = audit.save(route, self.actor)
        wanted = []
        for position, candidate in enumerate(entry.candidates):
            with _at(f"{path}.candidates[{position}]"):
                provider = _named(Provider, "provider", name=candidate.provider)
                wanted.append(Candidate(route=route, provider=provider, model=candidate.model, position=position))
                wanted[-1].full_clean(validate_constraints=False)
        if replace_candidates(route, wanted, self.actor) and outcome is Outcome.UNCHANGED:
            outcome = Outcome.CHANGED
        self._tell(outcome, route)

    def _tenant(self, entry: TenantEntry, path: str) -> None:
        with _at(path):
            tenant = _row(Tenant, slug=entry.slug)
            for name in ("plan", "content", "time_zone", "retention_days", "is_active"):
                setattr(tenant, name, getattr(entry, name))
            tenant.name = entry.name or tenant.name or entry.slug
            self._save(tenant)
        if entry.plan != "none":
            self.report.notes.append(f"{path}.plan: {entry.plan!r} is kept, but its quotas are not in this version")
        for index, key in enumerate(entry.keys):
            with _at(f"{path}.keys[{index}]"):
                self._key(tenant, key)
        for index, budget in enumerate(entry.budgets):
            with _at(f"{path}.budgets[{index}]"):
                self._budget(tenant, budget)

    def _key(self, tenant: Tenant, entry: KeyEntry) -> None:
        key = _row(Key, tenant=tenant, name=entry.name)
        if key.revoked_at is not None:
            _refuse("name", f"the key {key} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC; use another name")
        for name in ("service", "environment", "feature", "criticality", "unpriced"):
            setattr(key, name, getattr(entry, name))
        key.allowed_models = list(entry.allowed_models)
        key.cache = "off" if entry.cache is False else str(entry.cache)
        key.expires_at = None if entry.expires_at is None else _aware("expires_at", entry.expires_at)
        secret = self._secret(entry.secret)
        if not secret and key._state.adding:
            secret = self.report.secrets[str(key)] = new_secret()
        if secret:
            key.prefix, key.secret_hash = prefix_of(secret), secret_hash(secret)
            if Key.objects.exclude(pk=key.pk).filter(secret_hash=key.secret_hash).exists():
                _refuse("secret", "another key has the same secret")
        self._save(key)

    def _secret(self, given: str) -> str:
        if not given:
            return ""
        name = given.removeprefix("env:")
        secret = self.environ.get(name, "").strip() if given.startswith("env:") else given
        if not secret:
            _refuse("secret", f"the variable {name} is not set")
        if len(secret) < SHORTEST_SECRET:
            _refuse("secret", f"shorter than {SHORTEST_SECRET} characters")
        return secret

    def _budget(self, tenant: Tenant, entry: BudgetEntry) -> None:
        budget = _row(Budget, tenant=tenant, name=entry.name)
        if (entry.limit_usd is None) == (entry.limit_tokens is None):
            _refuse("", "a budget has limit_usd or limit_tokens, one of the two")
        budget.limit_nanousd = None if entry.limit_usd is None else _limit("limit_usd", entry.limit_usd)
        budget.limit_tokens = entry.limit_tokens
        if entry.limit_tokens is not None and not 0 <= entry.limit_tokens <= MOST_NANOUSD:
            _refuse("limit_tokens", f"{entry.limit_tokens} is not between 0 and {MOST_NANOUSD:,}")
        for dimension, value in entry.scope.items():
            if isinstance(value, bool):
                _refuse(f"scope.{dimension}", f"{value} is read as yes or no; put it in quotes")
        budget.scope = {dimension: str(value) for dimension, value in entry.scope.items()}
        budget.thresholds = list(entry.thresholds)
        budget.window, budget.action, budget.is_active = entry.window, entry.action, entry.is_active
        self._save(budget)

    def _judge(self, entry: JudgeEntry) -> None:
        judge = _row(Judge, tenant=_named(Tenant, "tenant", slug=entry.tenant), name=entry.name)
        slug, _, name = entry.key.rpartition("/")
        judge.key = _named(Key, "key", tenant__slug=slug or entry.tenant, name=name)
        judge.feature, judge.model, judge.is_enabled = entry.feature, entry.model, entry.is_enabled
        judge.sample, judge.criteria = _decimal("sample", entry.sample), list(entry.criteria)
        self._save(judge)

    def _channel(self, entry: ChannelEntry) -> None:
        tenant = _named(Tenant, "tenant", slug=entry.tenant) if entry.tenant else None
        channel = _row(Channel, tenant=tenant, name=entry.name)
        channel.url, channel.is_enabled = entry.url, entry.is_enabled
        self._save(channel)

    def _save(self, obj: Model) -> None:
        self._tell(audit.save(obj, self.actor), obj)

    def _tell(self, outcome: Outcome, obj: Model) -> None:
        self.report.applied.append(Applied(outcome, str(obj._meta.verbose_name), str(obj)))


class _FieldError(Exception):
    """A field of the entry at hand is wrong."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _refuse(name: str, message: str) -> None:
    raise _FieldError(name, message)


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Errors of one entry, with its place in the file."""
    try:
        yield
    except _FieldError as error:
        raise ConfigurationError(Problem(f"{path}.{error.name}" if error.name else path, str(error))) from None
    except ValidationError as error:
        raise ConfigurationError(*_problems(path, error)) from None


# Names of the file for fields that the tables call otherwise.
FILE_NAMES = {"limit_nanousd": "limit_usd"}


def _problems(path: str, error: ValidationError) -> list[Problem]:
    if not hasattr(error, "error_dict"):
        return [Problem(path, message) for message in error.messages]
    return [
        Problem(path if name == NON_FIELD_ERRORS else f"{path}.{FILE_NAMES.get(name, name)}", message)
        for name, messages in error.message_dict.items()
        for message in messages
    ]


def _row(model: type[M], /, **lookup: Any) -> M:
    """The row with this name, locked, or a new one that is not saved yet."""
    return model._default_manager.select_for_update(of=("self",)).filter(**lookup).first() or model(**lookup)


def _named(model: type[M], field: str, /, **lookup: Any) -> M:
    found = model._default_manager.filter(**lookup).first()
    if found is None:
        raise _FieldError(field, f"there is no {model._meta.verbose_name} {'/'.join(map(str, lookup.values()))!r}")
    return found


def _limit(name: str, usd: str | int) -> int:
    try:
        nanousd = parse_usd(usd)
    except MoneyError as error:
        raise _FieldError(name, str(error)) from None
    if not 0 <= nanousd <= MOST_NANOUSD:
        raise _FieldError(name, f"{usd} is not between 0 and 9,000,000 USD")
    return nanousd


def _rate(name: str, usd: str | int | None) -> Decimal | None:
    amount = None if usd is None else _decimal(name, usd)
    if amount is not None and amount < 0:
        _refuse(name, f"{usd} is below 0")
    return amount


def _decimal(name: str, given: str | int) -> Decimal:
    try:
        number = Decimal(given)
    except InvalidOperation:
        raise _FieldError(name, f"{given!r} is no number") from None
    if not number.is_finite():
        raise _FieldError(name, f"{given!r} is no finite number")
    return number


def _aware(name: str, at: datetime) -> datetime:
    if at.tzinfo is None:
        raise _FieldError(name, f"{at.isoformat()} names no zone; write {at.isoformat()}Z or +02:00")
    return at
