"""`POST traces/`: native spans into the web's own journal; the writer takes them from there, as it does all others.

A process of the web owns one journal folder from its first post on. What got a 202 is stored afterwards, once.
"""

import secrets
from functools import cache

from django.conf import settings
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request

from llmobs.core.clock import now_ns
from llmobs.ingest.entries import NativeSpans
from llmobs.ingest.journal import JournalError, JournalWriter
from llmobs.ingest.otlp.native import NativeChecked, NativeError, check
from llmobs.tenants import access
from llmobs.tenants.access import Caller
from llmobs.tenants.problem import TooBusy, TooLarge

MOST_BODY_BYTES = 16 * 1024 * 1024  # a thousand spans with long messages
MOST_ERRORS = 100  # named in an answer


@cache
def journal() -> JournalWriter:
    """This process's journal, taken at first use."""
    return JournalWriter(settings.PLACE.journal / f"web-{secrets.token_hex(6)}", settings.SECRETS.journal_key)


def take_spans(request: Request, caller: Caller, slug: str) -> NativeChecked:
    """Journal the spans of a request; says how many, and what is wrong with the others.

    Fails closed: what cannot be kept is refused with 503, a body without one good span with 400.
    """
    found = list(access.tenants(caller, slug)[:2])
    if len(found) != 1:
        raise ValidationError({"tenant": "Say whose spans these are: ?tenant=SLUG."})
    tenant = found[0]
    if caller.key_id == 0 and not caller.may_change(tenant.pk):
        raise PermissionDenied("Viewers read; a key or an admin of the tenant sends spans.")
    body = request._request.read(MOST_BODY_BYTES + 1)
    if len(body) > MOST_BODY_BYTES:
        raise TooLarge(f"A request is at most {MOST_BODY_BYTES >> 20} MB; send several.")
    at_ns = now_ns()
    try:
        checked = check(body, at_ns, tenant.retention_days)
        if checked.accepted_spans:
            journal().append(NativeSpans(tenant.pk, caller.key_id, at_ns, body))
    except NativeError as error:
        raise ValidationError(str(error)) from None
    except JournalError as error:
        raise TooBusy("The journal cannot take more just now; send it again.") from error
    if checked.errors and not checked.accepted_spans:
        raise ValidationError({f"spans[{error.position}]": error.message for error in checked.errors[:MOST_ERRORS]})
    return checked
