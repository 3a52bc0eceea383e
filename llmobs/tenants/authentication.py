"""Who calls the REST API: one of our keys (`Authorization: Bearer` or `x-api-key`), or a person's session.

Fails closed: an unknown, revoked or expired key, and a key of a tenant that is switched off, are refused alike.
"""

from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from llmobs.tenants import seeing
from llmobs.tenants.access import Caller, caller_of_person, caller_with_key
from llmobs.tenants.keys import secret_hash
from llmobs.tenants.models import Key, User

LONGEST_SECRET = 512


class KeyHolder(AnonymousUser):
    """Stands where Django expects a person: nobody in particular, but known."""

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        return True


class KeyAuthentication(BaseAuthentication):  # type: ignore[misc]
    """A key in a header; without one, the next way is tried."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, Caller] | None:
        secret = shown_secret(request)
        if not secret:
            return None
        key = valid_key(secret, timezone.now())
        if key is None:
            raise AuthenticationFailed("The key is unknown, revoked or expired.")
        caller = caller_with_key(key)
        seeing.see(caller.sees)
        return KeyHolder(), caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="llmobs"'


AUTHENTICATION = (KeyAuthentication, SessionAuthentication)


def shown_secret(request: Request | HttpRequest) -> str:
    """The key that the request carries, "" when none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return str(request.headers.get("x-api-key", "")).strip()


def valid_key(secret: str, at: datetime) -> Key | None:
    """The key with this secret, if it may be used at this time."""
    if len(secret) > LONGEST_SECRET:
        return None
    with seeing.finding_out_who():
        key = Key.objects.select_related("tenant").filter(secret_hash=secret_hash(secret)).first()
    if key is None or (key.tenant is not None and not key.tenant.is_active):
        return None
    is_over = (key.revoked_at is not None and key.revoked_at <= at) or (
        key.expires_at is not None and key.expires_at <= at
    )
    return None if is_over else key


def caller_of(request: Request) -> Caller:
    """The caller of an authenticated request."""
    if isinstance(request.auth, Caller):
        return request.auth
    user = request.user
    return caller_of_person(user if isinstance(user, User) else AnonymousUser())
