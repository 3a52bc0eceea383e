"""The audit trail: a change and the entry that tells of it are written in one transaction, by every door alike.

The admin, the REST API and `apply` change configuration through `save` and `delete` alone. Secrets never enter an
entry: of a hidden field it says that it was set or changed, not to what.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Field, ForeignKey, Model

from llmobs.tenants.models import AuditEntry, Tenant

# Fields whose values are secrets, or may hold some (a webhook's path, a provider's headers).
HIDDEN = frozenset(
    {
        "secret_hash", "password", "credential", "credentials", "headers", "query", "url", "signing_secret",
        "previous_secret",
    }
)  # fmt: skip
# Fields that tell nothing of a change.
UNTOLD = frozenset({"id", "created_at", "last_login", "date_joined", "counted_at", "revision", "busy_until"})
SET, CHANGED = "(set)", "(changed)"


class Outcome(StrEnum):
    """What became of an object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


def save(obj: Model, actor: str, action: str = "") -> Outcome:
    """Check and write an object with its audit entry; nothing is written where nothing changed.

    Raises ValidationError. `action` names the change (revoke, rotate); default: create or change.
    """
    with transaction.atomic():
        rows = type(obj)._default_manager
        before = rows.select_for_update(of=("self",)).filter(pk=obj.pk).order_by().first() if obj.pk else None
        obj.full_clean()
        if before is not None and not difference(before, obj):
            return Outcome.UNCHANGED
        obj.save()
        outcome = Outcome.CREATED if before is None else Outcome.CHANGED
        record(actor, action or ("create" if before is None else "change"), obj, difference(before, obj))
        return outcome


def delete(obj: Model, actor: str) -> None:
    """Delete an object with its audit entry. Raises ProtectedError where others need it."""
    with transaction.atomic():
        change = {name: [value, None] for name, value in values(obj).items()}
        record(actor, "delete", obj, change, is_gone=isinstance(obj, Tenant))
        obj.delete()


def record(actor: str, action: str, obj: Model, change: dict[str, Any], is_gone: bool = False) -> None:
    """Write an entry about an object, in the caller's transaction."""
    tenant = obj if isinstance(obj, Tenant) else getattr(obj, "tenant", None)
    AuditEntry.objects.create(
        tenant=None if is_gone else tenant,
        actor=actor[:200],
        action=action[:40],
        kind=str(obj._meta.verbose_name)[:40],
        name=str(obj)[:200],
        change=change,
    )


def difference(before: Model | None, after: Model) -> dict[str, Any]:
    """Fields that differ, each as [before, after], as JSON takes them."""
    new = values(after)
    if before is None:
        return {name: [None, value] for name, value in new.items() if value not in (None, "", [], {})}
    changed = [
        field.attname for field in _fields(after) if getattr(before, field.attname) != getattr(after, field.attname)
    ]
    old = values(before)
    told = {name: [old[name], new[name]] for name in (_told_name(after, attname) for attname in changed)}
    return {name: [pair[0], CHANGED] if name in HIDDEN and pair[1] else pair for name, pair in told.items()}


def values(obj: Model) -> dict[str, Any]:
    """The fields of an object as the trail shows them."""
    return {field.name: _value(obj, field) for field in _fields(obj)}


def _value(obj: Model, field: "Field[Any, Any]") -> Any:
    value = getattr(obj, field.attname)
    if field.name in HIDDEN:
        return SET if value else ""
    if isinstance(field, ForeignKey):
        return None if value is None else str(getattr(obj, field.name))
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _fields(obj: Model) -> "list[Field[Any, Any]]":
    return [field for field in obj._meta.concrete_fields if field.name not in UNTOLD]


def _told_name(obj: Model, attname: str) -> str:
    return next(field.name for field in _fields(obj) if field.attname == attname)
