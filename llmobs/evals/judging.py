"""One judgement from claim to score: claim a row, read what was said, ask the judge, keep verdict or reason."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from llmobs.core.clock import ns_from_utc
from llmobs.evals.asking import AskError, Question, ask
from llmobs.evals.models import Judge, Judgement, Score
from llmobs.evals.sampling import NOT_KEPT
from llmobs.evals.verdict import Verdict, VerdictError
from llmobs.pricing import book
from llmobs.providers import registry
from llmobs.spans.blocks import Content, read_content
from llmobs.tenants.keys import mint_internal
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection

MOST_ATTEMPTS = 3
# A worker that was killed while it judged: its row is taken again after this.
CLAIM_LASTS = timedelta(minutes=10)
PAUSE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where judges are asked, and the secret that signs our own worker's tokens."""

    url: str
    secret_key: str


class SkippedError(Exception):
    """The answer cannot be judged; the message is the reason that the row keeps."""


def claim(now: datetime) -> Judgement | None:
    """The next row to judge, marked as running; None when none is due. A tenant with many holds up no other's."""
    mine = _due(now).filter(tenant=OuterRef("pk"))
    for tenant_id in Tenant.objects.filter(Exists(mine)).order_by("?").values_list("pk", flat=True):
        if (judgement := _claim_of(tenant_id, now)) is not None:
            return judgement
    return None


def _due(now: datetime) -> QuerySet[Judgement]:
    return Judgement.objects.filter(
        Q(state=Judgement.State.PENDING, claimed_at__isnull=True)
        | Q(state=Judgement.State.PENDING, claimed_at__lt=now - PAUSE)
        | Q(state=Judgement.State.RUNNING, claimed_at__lt=now - CLAIM_LASTS)
    )


def _claim_of(tenant_id: int, now: datetime) -> Judgement | None:
    """The tenant's oldest that no other worker has in its hands."""
    with transaction.atomic():
        judgement = (
            _due(now)
            .filter(tenant_id=tenant_id)
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("judge__key__tenant", "tenant")
            .order_by("pk")
            .first()
        )
        if judgement is not None:
            judgement.state, judgement.claimed_at = Judgement.State.RUNNING, now
            judgement.attempts += 1
            _row(judgement).update(state=judgement.state, claimed_at=now, attempts=judgement.attempts)
    return judgement


def _row(judgement: Judgement) -> QuerySet[Judgement]:
    return Judgement.objects.filter(tenant_id=judgement.tenant_id, pk=judgement.pk)


def judge(judgement: Judgement, gateway: Gateway, now: datetime) -> None:
    """Ask and keep the outcome on the row; every way out leaves a state and, but for a verdict, a reason."""
    try:
        question = _question(judgement, now)
        token = mint_internal(judgement.judge.key_id, gateway.secret_key, ns_from_utc(now))
        verdict = ask(question, gateway.url, token)
    except SkippedError as error:
        _close(judgement, Judgement.State.SKIPPED, str(error), now)
    except AskError as error:
        again = error.can_retry and judgement.attempts < MOST_ATTEMPTS
        _close(judgement, Judgement.State.PENDING if again else Judgement.State.FAILED, str(error), now)
    except VerdictError as error:
        again = judgement.attempts < MOST_ATTEMPTS
        _close(judgement, Judgement.State.PENDING if again else Judgement.State.FAILED, str(error), now)
    else:
        _keep(judgement, verdict, now)


def _question(judgement: Judgement, now: datetime) -> Question:
    rule = judgement.judge
    if not rule.is_enabled:
        raise SkippedError("the judge was switched off")
    asked, answered = _messages(judgement)
    if answered is None:
        raise SkippedError(NOT_KEPT)
    return Question(
        dialect=_dialect(rule, now),
        model=rule.model,
        criteria=list(rule.criteria),
        asked=plain_text(asked),
        answered=plain_text(answered),
    )


def _messages(judgement: Judgement) -> Content:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT block_id, block_slot, (start AT TIME ZONE 'UTC')::date FROM span "
            "WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s AND block_id IS NOT NULL",
            [judgement.tenant_id, bytes(judgement.trace_id), bytes(judgement.span_id), judgement.start],
        )
        row = cursor.fetchone()
    if row is None:
        return None, None
    block_id, slot, day = row
    return read_content(plain_connection(), judgement.tenant_id, block_id, day, slot)


def _dialect(rule: Judge, now: datetime) -> str:
    """How the judge's model is asked: by the SDK of the provider that answers for it."""
    conn = plain_connection()
    prices, at_ns = book.load(conn), ns_from_utc(now)
    candidates = registry.load(conn).candidates(
        rule.model, lambda provider, model: prices.price(rule.tenant_id, provider.priced_as, model, at_ns) is not None
    )
    if not candidates:
        raise SkippedError(f"no provider or route serves the judge's model {rule.model}")
    return candidates[0].provider.dialect


def plain_text(messages: str | None) -> str:
    """Messages, as JSON of roles and parts, as text: a line for each role, its text parts below."""
    if not messages:
        return ""
    try:
        decoded = msgspec.json.decode(messages)
    except msgspec.MsgspecError:
        return messages
    if not isinstance(decoded, list):
        return messages
    lines: list[str] = []
    for message in decoded:
        parts = message.get("parts", []) if isinstance(message, dict) else []
        text = [str(part.get("content", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"]
        lines.append("\n".join([f"{message.get('role', '')}:", *text] if isinstance(message, dict) else [str(message)]))
    return "\n".join(lines)


def _keep(judgement: Judgement, verdict: Verdict, now: datetime) -> None:
    with transaction.atomic():
        # A second worker may have judged the same row after a stall: the first verdict stays.
        changed = _row(judgement).exclude(state=Judgement.State.DONE)
        if not changed.update(state=Judgement.State.DONE, reason="", finished_at=now):
            return
        Score.objects.create(
            tenant_id=judgement.tenant_id,
            trace_id=judgement.trace_id,
            span_id=judgement.span_id,
            name=judgement.judge.name,
            value=verdict.overall,
            label=verdict.verdict,
            comment=verdict.reasoning,
            details={"criteria": msgspec.to_builtins(verdict.criteria)},
            source=Score.Source.JUDGE,
            judge=judgement.judge,
        )


def _close(judgement: Judgement, state: str, reason: str, now: datetime) -> None:
    _row(judgement).exclude(state=Judgement.State.DONE).update(
        state=state, reason=reason[:500], finished_at=None if state == Judgement.State.PENDING else now
    )
