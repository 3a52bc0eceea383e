"""Who plays: Alice owns acme, Bob is on her team, Charlie belongs elsewhere, Olga operates; and a key for each wall."""

from dataclasses import dataclass
from typing import Any

from rest_framework.response import Response
from rest_framework.test import APIClient

from llmobs.budgets.models import Budget
from llmobs.tenants.keys import prefix_of, secret_hash
from llmobs.tenants.models import Key, Membership, Tenant, User

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Cast:
    acme: Tenant
    globex: Tenant
    alice: User
    bob: User
    charlie: User
    olga: User
    acme_key: Key
    globex_key: Key


def make_cast() -> Cast:
    acme = Tenant.objects.create(slug="acme", name="Acme", content="full")
    globex = Tenant.objects.create(slug="globex", name="Globex")
    alice, bob, charlie = (User.objects.create_user(name, password=PASSWORD) for name in ("alice", "bob", "charlie"))
    Membership.objects.create(user=alice, tenant=acme, role="admin")
    Membership.objects.create(user=bob, tenant=acme, role="viewer")
    Membership.objects.create(user=charlie, tenant=globex, role="admin")
    olga = User.objects.create_user("olga", password=PASSWORD, is_staff=True)
    return Cast(
        acme, globex, alice, bob, charlie, olga, make_key(acme, "prod", "acme"), make_key(globex, "prod", "globex")
    )


def make_key(tenant: Tenant | None, name: str, secret: str) -> Key:
    """A key whose secret is `secret-of-` and the word."""
    secret = f"secret-of-{secret}"
    return Key.objects.create(tenant=tenant, name=name, prefix=prefix_of(secret), secret_hash=secret_hash(secret))


def make_budget(tenant: Tenant, name: str = "monthly") -> Budget:
    return Budget.objects.create(tenant=tenant, name=name, limit_nanousd=10_000_000_000)


def with_key(word: str) -> APIClient:
    """A caller that shows the key of this word."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer secret-of-{word}")
    return client


def as_person(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def names(response: Response) -> list[Any]:
    return [row["name"] for row in response.json()["results"]]


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """The answer is an RFC 9457 document of this status."""
    assert response.status_code == status, response.content
    assert response["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    return body
