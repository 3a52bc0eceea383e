"""One door to what belongs to a tenant: who a caller is, what it sees, what it may change.

Absent and forbidden look the same (404). Operators (a person with `is_staff`, a key without tenant) see every tenant.
A tenant's key sees its tenant and reports spans and scores; it changes no configuration, since an application that
holds it could otherwise raise its own budget. People change what they are `admin` of.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, Q, QuerySet
from django.http import Http404

from llmobs.tenants import seeing
from llmobs.tenants.models import Key, Membership, Tenant, User

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `sees` and `changes` are ids of tenants; None is every tenant."""

    actor: str  # as the audit trail names it
    sees: frozenset[int] | None
    changes: frozenset[int] | None
    key_id: int = 0

    @property
    def is_operator(self) -> bool:
        return self.sees is None

    def may_change(self, tenant_id: int | None) -> bool:
        """Whether it may change the configuration of this tenant (None: what belongs to all)."""
        return self.changes is None or (tenant_id is not None and tenant_id in self.changes)


NOBODY = Caller("nobody", frozenset(), frozenset())


def caller_with_key(key: Key) -> Caller:
    """The caller that shows this (valid) key."""
    if key.tenant_id is None:
        return Caller(f"key operator/{key.name}", None, None, key.pk)
    return Caller(f"key {key}", frozenset({key.tenant_id}), frozenset(), key.pk)


def caller_of_person(user: User | AnonymousUser) -> Caller:
    """The caller that a signed-in person is."""
    if not isinstance(user, User) or not user.is_active:
        return NOBODY
    if user.is_staff:
        return Caller(user.get_username(), None, None)
    with seeing.finding_out_who():
        roles = dict(Membership.objects.filter(user=user, tenant__is_active=True).values_list("tenant_id", "role"))
    admin_of = frozenset(tenant_id for tenant_id, role in roles.items() if role == Membership.Role.ADMIN)
    return Caller(user.get_username(), frozenset(roles), admin_of)


def tenants(caller: Caller, slug: str = "") -> QuerySet[Tenant]:
    """The tenants that the caller sees, or the one with this slug; raises Http404 where it sees none such."""
    seen = Tenant.objects.all() if caller.sees is None else Tenant.objects.filter(pk__in=caller.sees)
    if not slug:
        return seen
    one = seen.filter(slug=slug)
    if not one.exists():
        raise Http404(f"There is no tenant {slug[:64]!r}.")
    return one


def tenant_ids(caller: Caller, slug: str = "") -> tuple[int, ...]:
    """Ids of `tenants`, in order: what a query over spans is asked for."""
    return tuple(tenants(caller, slug).order_by("pk").values_list("pk", flat=True))


def seen(rows: QuerySet[M], caller: Caller, slug: str = "", is_shared_seen: bool = False) -> QuerySet[M]:
    """The rows of the tenants that the caller sees. Rows of no tenant are operators', unless `is_shared_seen`."""
    if slug:
        return rows.filter(tenant__in=tenants(caller, slug))
    if caller.sees is None:
        return rows
    own = Q(tenant__in=caller.sees)
    return rows.filter(own | Q(tenant__isnull=True) if is_shared_seen else own)


def find(rows: QuerySet[M], caller: Caller, is_shared_seen: bool = False, **lookup: Any) -> M:
    """The one row that the lookup names, if the caller sees it; else Http404, whatever the reason."""
    try:
        return seen(rows, caller, is_shared_seen=is_shared_seen).get(**lookup)
    except (ObjectDoesNotExist, ValueError, OverflowError):
        raise Http404(f"There is no such {rows.model._meta.verbose_name}.") from None
