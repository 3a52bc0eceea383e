"""Celery's side of re-pricings: preview, apply and undo what waits. The rows say what; any wake-up may be lost."""

import psycopg
import redis
import structlog
from celery import shared_task
from django.conf import settings
from django.db import connection
from kombu.exceptions import OperationalError

from llmobs.budgets import definition
from llmobs.budgets.ledger import Fold
from llmobs.core.clock import now_ns
from llmobs.ingest import adjust_run, raw_bodies
from llmobs.ingest.adjust import Connection
from llmobs.ingest.adjust_ledger import teach
from llmobs.ingest.adjust_preview import as_json, preview
from llmobs.ingest.commit import share_tenant
from llmobs.ingest.models import APPLYING, NEW, PREVIEWED, UNDOING, Repricing
from llmobs.spans import trace_deltas
from llmobs.tenants import seeing
from llmobs.tenants.models import Tenant

log = structlog.get_logger()

FOLDING_S = 8  # of each ten
MOST_PREVIEWED_AT_ONCE = 100_000  # bills; what is more is a worker's to read


@shared_task(name="ingest.reprice", ignore_result=True)
def reprice() -> None:
    """Every minute, by beat, and whenever one was begun: whatever was begun and is not done."""
    for repricing in Repricing.objects.filter(state__in=(NEW, APPLYING, UNDOING)).order_by("pk"):
        try:
            go_on(repricing)
        except adjust_run.NotNow as busy:
            log.info("re-pricing not now", repricing=repricing.pk, reason=str(busy))
        except Exception as error:
            # The row keeps what it is, so that the next wake-up goes on; it says why it has not yet.
            Repricing.objects.filter(pk=repricing.pk).update(error=f"{type(error).__name__}: {error}"[:400])
            log.exception("re-pricing stopped", repricing=repricing.pk)


@shared_task(name="ingest.let_raw_bodies_go", ignore_result=True)
def let_raw_bodies_go() -> None:
    """Every hour, by beat: bodies past their tenant's days, or that its policy forbids by now."""
    with connect() as conn:
        raw_bodies.let_go(conn)


@shared_task(name="ingest.fold_traces", ignore_result=True)
def fold_traces() -> None:
    """Every ten seconds, by beat: what re-pricings added to traces, into their rows; a part of the time, so that one
    worker has others left."""
    with connect() as conn:
        folded = trace_deltas.fold(conn, share_tenant, most_seconds=FOLDING_S)
    if folded:
        log.info("totals of traces follow a re-pricing", traces=folded)


def wake() -> None:
    """Let a worker begin now; without a broker it begins with the next minute."""
    try:
        reprice.apply_async(retry=False)
    except OperationalError:
        log.warning("no worker could be woken; the schedule does it within a minute")


def go_on(repricing: Repricing) -> None:
    """Do what its state asks for, to the end. Raises NotNow where another process is at it."""
    if repricing.state == NEW:
        look(repricing)
    elif repricing.state == APPLYING:
        done = adjust_run.apply(connect, repricing.pk, repricing.question(), repricing.book(), _send)
        log.info("re-pricing applied", repricing=repricing.pk, bills=done.bills, nanousd=done.nanousd)
    elif repricing.state == UNDOING:
        adjust_run.undo(connect, repricing.pk, _send)
        log.info("re-pricing undone", repricing=repricing.pk)
    repricing.refresh_from_db()


def look(repricing: Repricing) -> None:
    """Preview it."""
    slugs = dict(Tenant.objects.values_list("pk", "slug"))
    with connect() as conn:
        found = preview(conn, repricing.question(), repricing.book(), definition.load(conn))
    repricing.preview, repricing.state = as_json(found, slugs), PREVIEWED
    Repricing.objects.filter(pk=repricing.pk, state=NEW).update(
        preview=repricing.preview, state=repricing.state, error=""
    )


def is_small(repricing: Repricing) -> bool:
    """Whether a request may wait for its preview."""
    tenants = Tenant.objects.filter(pk=repricing.tenant_id) if repricing.tenant_id else Tenant.objects.all()
    with connect() as conn:
        row = conn.execute(
            "SELECT count(*) FROM (SELECT 1 FROM bill WHERE tenant_id = ANY(%s) AND begin_at >= %s AND begin_at < %s "
            "LIMIT %s) b",
            (list(tenants.values_list("pk", flat=True)), repricing.since, repricing.until, MOST_PREVIEWED_AT_ONCE + 1),
        ).fetchone()
    return row is not None and row[0] <= MOST_PREVIEWED_AT_ONCE


def connect() -> Connection:
    """A connection of its own: the work is psycopg's, in transactions of its own. A request's sees what it may see."""
    database, said = connection.settings_dict["NAME"], seeing.said()
    if said is None:
        return psycopg.connect(settings.CONNECTIONS.database_url, dbname=database, autocommit=True)
    url = settings.CONNECTIONS.web_database_url or settings.CONNECTIONS.database_url
    conn: Connection = psycopg.connect(url, dbname=database, autocommit=True)
    conn.execute("SELECT set_config(%s, %s, false)", (seeing.SETTING, said))  # nobody else gets it: closed when done
    return conn


def _send(folds: list[Fold]) -> None:
    client = redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=10, socket_connect_timeout=2)
    with connect() as conn, client:
        teach(conn, client, folds, now_ns())
