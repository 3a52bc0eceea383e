"""People's accounts: made by operators, nobody signs up; and the first operator and key of a new installation."""

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest

from llmobs.tenants import audit
from llmobs.tenants.keys import prefix_of, secret_hash
from llmobs.tenants.models import Key, User

FIRST_OPERATOR = "admin"
BOOTSTRAP_KEY = "bootstrap"
ACTOR = "bootstrap"
SHORTEST_SECRET = 16  # characters; a key that can be guessed is none


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth's rules, but that signing up is closed."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


def ensure_operator(password: str) -> bool:
    """Make the operator `admin` where nobody can sign in as operator yet; returns whether it was made."""
    with transaction.atomic():
        if User.objects.filter(is_staff=True).exists():
            return False
        user = User(username=FIRST_OPERATOR, is_staff=True, is_superuser=True)
        user.set_password(password)
        audit.save(user, ACTOR)
        return True


def ensure_operator_key(secret: str) -> bool:
    """Make or replace the operator key that the environment bootstraps; returns whether anything changed."""
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(f"LLMOBS_OPERATOR_KEY is shorter than {SHORTEST_SECRET} characters")
    key = Key.objects.filter(tenant=None, name=BOOTSTRAP_KEY).first() or Key(name=BOOTSTRAP_KEY)
    if key.revoked_at is not None:  # what an operator revoked stays revoked
        return False
    key.prefix, key.secret_hash = prefix_of(secret), secret_hash(secret)
    return audit.save(key, ACTOR) is not audit.Outcome.UNCHANGED
