"""Entries into spans ready to be written: decoded, priced, bounded, and past the content's door."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmobs.brake.events import Row as BrakeRow
from llmobs.budgets.definition import Budgets
from llmobs.core.clock import now_ns, utc_from_ns
from llmobs.core.env import Secrets
from llmobs.core.semconv import SOURCE_OTLP
from llmobs.ingest.attempts import abandoned_span, called_span, ended_span, refused_span
from llmobs.ingest.bounds import keep_bounds
from llmobs.ingest.content import UNKNOWN, Clean, Door, look
from llmobs.ingest.entries import (
    Begin,
    Braked,
    Called,
    End,
    Finding,
    Hold,
    NativeSpans,
    OtlpBody,
    OtlpLogs,
    Refused,
    UsedPrice,
)
from llmobs.ingest.log_records import LogRecord
from llmobs.ingest.media import has_more, refer
from llmobs.ingest.otlp import native
from llmobs.ingest.otlp.check import DAY_NS
from llmobs.ingest.otlp.decode import decode
from llmobs.ingest.otlp.logs import Said, decode_logs
from llmobs.ingest.raw_bodies import FULL, RawBody, raw_body
from llmobs.ingest.tails import Found
from llmobs.ingest.watch import Watch
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.stated import stated_version
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.roster import Roster

MOST_VERSIONS_KNOWN = 10_000


class Unreadable(Exception):
    """The entry cannot become spans. The message names no content."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the writer must know of the configuration, as of one version."""

    version: int
    roster: Roster
    book: PriceBook
    budgets: Budgets
    door: Door
    watch: Watch

    @classmethod
    def of(cls, version: int, roster: Roster, book: PriceBook, budgets: Budgets, secrets: Secrets) -> "Config":
        policies = {tenant.id: tenant.content for tenant in roster.tenants.values()}
        key = secrets.secret_key.encode()
        return cls(version, roster, book, budgets, Door(policies, key), Watch(roster.tenants, key))


@dataclass(slots=True)
class Piece:
    """What one entry comes to."""

    found: Found
    spans: list[Span] = field(default_factory=list)
    holds: dict[tuple[int, bytes], list[Hold]] = field(default_factory=dict)
    prices: list[Price] = field(default_factory=list)
    findings: list[tuple[Span, Finding]] = field(default_factory=list)
    braked: list[BrakeRow] = field(default_factory=list)
    raw_bodies: list[RawBody] = field(default_factory=list)
    log_records: list[LogRecord] = field(default_factory=list)


class Translator:
    """Makes pieces of entries. Remembers which price versions are stored already."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._known: set[tuple[str, str, str]] = set()

    def piece(self, found: Found, now_ns: int) -> Piece:
        """What the entry comes to. Raises Unreadable, or whatever a decoder stumbles over."""
        piece = Piece(found)
        piece.spans = list(self._spans(found, piece, now_ns))
        piece.findings = [(span, finding) for span in piece.spans[:1] for finding in _journalled(found)]
        for span in piece.spans:
            clean = look(span)
            if not clean.is_without_media or has_more(span):
                refer(span)
                clean = look(span)
            found_by_guards = self.config.watch.findings(span, clean)
            if found_by_guards:
                piece.findings += [(span, finding) for finding in found_by_guards]
            self._pass_doors(span, clean)
        return piece

    def _spans(self, found: Found, piece: Piece, now_ns: int) -> Iterable[Span]:
        entry = found.entry
        if isinstance(entry, End):
            if found.begin is None:
                raise Unreadable("an attempt's end without its begin")
            return [self._attempt(found.begin, ended_span(found.begin, entry), piece)]
        if isinstance(entry, Begin):
            return [self._attempt(entry, abandoned_span(entry, now_ns), piece)]
        if isinstance(entry, Refused):
            return [refused_span(entry)]
        if isinstance(entry, Called):
            return [called_span(entry)]
        if isinstance(entry, Braked):
            piece.braked.append(_braked(entry))
            return []
        if isinstance(entry, UsedPrice):
            self._keep(entry.price, piece)
            return []
        if isinstance(entry, OtlpLogs):
            piece.log_records = [record for said in decode_logs(entry) if (record := self._log_record(entry, said))]
            return []
        assert isinstance(entry, OtlpBody | NativeSpans)
        key, days = self._key(entry.key_id), self._retention_days(entry.tenant_id)
        if isinstance(entry, NativeSpans):
            return self._priced(native.decode(entry, key, days), piece)
        spans = decode(entry, key, days)
        if self._keeps_raw(entry.tenant_id):
            piece.raw_bodies.append(raw_body(found.owner, found.position, entry, key, spans))
        return self._priced(spans, piece)

    def _log_record(self, entry: OtlpLogs, said: Said) -> LogRecord | None:
        """Past the same doors as a span that has it as its content; None where the policy keeps nothing."""
        side = "input" if said.is_input else "output"
        span = Span(entry.tenant_id, said.trace_id, said.span_id, None, said.at_ns, 0, "", SOURCE_OTLP, is_call=True)
        setattr(span, side, said.messages)
        refer(span)
        findings = tuple(self.config.watch.findings(span))
        self._pass_doors(span)
        kept: str | None = getattr(span, side)
        if kept is None:
            return None
        return LogRecord(
            entry.tenant_id,
            said.trace_id,
            said.span_id,
            said.mark,
            said.at_ns,
            said.place,
            entry.received_ns,
            said.is_input,
            said.is_whole,
            kept,
            findings,
        )

    def again(self, raw: RawBody) -> Piece:
        """What a body that was kept comes to today: read by today's adapters, past the same doors, at today's prices.

        With what its key said when it came. Nothing of it is too old: it was taken then.
        """
        piece = Piece(Found("", 0, raw.entry()))
        days = (now_ns() - raw.received_ns) // DAY_NS + self._retention_days(raw.tenant_id) + 1
        piece.spans = list(self._priced(decode(raw.entry(), raw.key_attribution(), days), piece))
        for span in piece.spans:
            refer(span)
            self._pass_doors(span)
        return piece

    def _pass_doors(self, span: Span, clean: Clean = UNKNOWN) -> None:
        """Whatever way it came in, and before anything else may see it: the content's policy, then bounds."""
        self.config.door.apply(span, clean)
        keep_bounds(span)

    def _keeps_raw(self, tenant_id: int) -> bool:
        tenant = self.config.roster.tenants.get(tenant_id)
        return tenant is not None and tenant.raw_body_days > 0 and self.config.door.policy(tenant_id) == FULL

    def _attempt(self, begin: Begin, span: Span, piece: Piece) -> Span:
        if begin.holds:
            piece.holds[begin.tenant_id, begin.attempt] = begin.holds
        if span.price_version:
            # Priced by the gateway: the same rates are kept here, so that the cost can be recomputed.
            price = self.config.book.price(begin.tenant_id, begin.priced_as, begin.model, begin.start_ns)
            if price is not None and price.version == span.price_version:
                self._keep(price, piece)
        return span

    def _priced(self, spans: list[Span], piece: Piece) -> Iterable[Span]:
        for span in spans:
            if span.is_call and span.usage is not None:
                self._price(span, piece)
            yield span

    def _price(self, span: Span, piece: Piece) -> None:
        """By the model that answered, else the one that was asked; None stays: unpriced, never a guess."""
        assert span.usage is not None
        if span.stated_cost_nanousd is not None and span.provider_name in self.config.book.trusted:
            span.cost_nanousd, span.price_version = span.stated_cost_nanousd, stated_version(span.provider_name)
            return
        answered, asked = span.response_model, span.request_model
        for model in (answered,) if answered == asked else (answered, asked):
            price = self.config.book.price(span.tenant_id, span.provider_name, model, span.start_ns) if model else None
            if price is not None:
                span.cost_nanousd = cost(span.usage, price)
                span.price_version = price.version
                self._keep(price, piece)
                return

    def _keep(self, price: Price, piece: Piece) -> None:
        key = (price.version, price.provider, price.model)
        if key not in self._known:
            piece.prices.append(price)

    def were_kept(self, prices: Iterable[Price]) -> None:
        """These are committed: no need to write them again."""
        if len(self._known) > MOST_VERSIONS_KNOWN:
            self._known.clear()
        self._known.update((price.version, price.provider, price.model) for price in prices)

    def _key(self, key_id: int) -> Attribution:
        key = self.config.roster.keys_by_id.get(key_id)
        if key is None:
            return Attribution(key_id=key_id)
        return Attribution(service=key.service, environment=key.environment, feature=key.feature, key_id=key_id)

    def _retention_days(self, tenant_id: int) -> int:
        tenant = self.config.roster.tenants.get(tenant_id)
        return tenant.retention_days if tenant else 400


def _braked(entry: Braked) -> BrakeRow:
    who = entry.attribution
    return BrakeRow(
        id=entry.id,
        tenant_id=entry.tenant_id,
        mark=entry.mark,
        kind=entry.kind,
        key_id=who.key_id,
        user_id=who.user_id,
        session_id=who.session_id,
        feature=who.feature,
        model=entry.model,
        trace_id=entry.trace_id.hex(),
        state=entry.state,
        changed_at=utc_from_ns(entry.at_ns),
        until=utc_from_ns(entry.until_ns) if entry.until_ns else None,
        told=entry.told,
        evidence=entry.evidence,
    )


def _journalled(found: Found) -> list[Finding]:
    """What the gateway's guards found in the call that the entry is of."""
    entry = found.entry
    if isinstance(entry, End):
        return (found.begin.findings if found.begin is not None else []) + entry.findings
    return entry.findings if isinstance(entry, Begin | Refused | Called) else []
