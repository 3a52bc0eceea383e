"""Who may see which tenant on the pages: members their own, operators all. Absent and forbidden look the same."""

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest

from llmobs.tenants.models import Tenant, User

ALL = "*"  # in the URL and the session: every tenant, for operators
SESSION_KEY = "tenant"


@dataclass(frozen=True)
class Seen:
    """The tenants a person may choose from, and the chosen one (None: all of them, or there is none)."""

    tenants: tuple[Tenant, ...]
    chosen: Tenant | None
    is_operator: bool

    @property
    def tenant_ids(self) -> tuple[int, ...]:
        """Whose figures the page shows."""
        if self.chosen is not None:
            return (self.chosen.pk,)
        return tuple(tenant.pk for tenant in self.tenants) if self.is_operator else ()

    @property
    def zone_name(self) -> str:
        return self.chosen.time_zone if self.chosen else "UTC"

    @property
    def name(self) -> str:
        return self.chosen.name if self.chosen else "all tenants"


def tenants_of(user: User | AnonymousUser) -> tuple[Tenant, ...]:
    """Every tenant that this person may see."""
    if not isinstance(user, User) or not user.is_active:
        return ()
    tenants = Tenant.objects.all() if user.is_staff else Tenant.objects.filter(members=user)
    return tuple(tenants.filter(is_active=True))


def seen_by(request: HttpRequest) -> Seen:
    """The tenant that `?tenant=` names, else the session's, else the first; raises Http404 for one not theirs."""
    user = request.user
    tenants = tenants_of(user)
    is_operator = isinstance(user, User) and user.is_staff
    asked = request.GET.get("tenant")
    if asked is not None:
        seen = _choose(tenants, asked, is_operator)
        if seen is None:
            raise Http404("There is no such tenant.")
        if request.session.get(SESSION_KEY) != asked:  # a session that changes is written, by each page anew
            request.session[SESSION_KEY] = asked
        return seen
    kept = _choose(tenants, str(request.session.get(SESSION_KEY, "")), is_operator)
    first = ALL if is_operator and len(tenants) != 1 else next((tenant.slug for tenant in tenants), "")
    return kept or _choose(tenants, first, is_operator) or Seen(tenants, None, is_operator)


def _choose(tenants: tuple[Tenant, ...], slug: str, is_operator: bool) -> Seen | None:
    if slug == ALL and is_operator:
        return Seen(tenants, None, True)
    chosen = next((tenant for tenant in tenants if tenant.slug == slug), None)
    return Seen(tenants, chosen, is_operator) if chosen else None
