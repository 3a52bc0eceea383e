"""`apply`: rates and quotas of the file, of a tenant and for all."""

import psycopg
import pytest
from cryptography.fernet import Fernet

from llmobs.limits.definition import load
from llmobs.limits.models import Limit
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.applying import Report
from llmobs.ops.configuring.entry import ConfigurationError

FERNET = (Fernet.generate_key().decode(),)

FILE = """
tenants:
  - slug: acme
    plan: paid
    keys: [{name: prod}]
    limits:
      - {unit: requests, per: minute, limit: 60, scope: {key: "*"}}
      - {unit: tokens, per: day, limit: 400000, scope: {user: "*"}}
      - {unit: tokens, per: minute, limit: 90000, scope: {key: prod, feature: chat}}
      - {name: at-once, unit: concurrent, limit: 20}
limits:
  - {unit: requests, per: minute, limit: 1000}
  - {unit: requests, per: minute, limit: 10, scope: {ip: "*"}}
  - {unit: requests, per: hour, limit: 100, scope: {tenant: acme}}
"""


def run(text: str) -> Report:
    return apply(parse(text), FERNET)


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        run(text)
    return str(raised.value)


def rules() -> list[str]:
    return [str(limit) for limit in Limit.objects.order_by("pk")]


@pytest.mark.django_db
def test_the_file_makes_limits_and_a_second_time_nothing_changes() -> None:
    report = run(FILE)

    assert rules() == [
        "acme/60 requests per minute, key *",
        "acme/400000 tokens per day, user *",
        "acme/90000 tokens per minute, feature chat, key prod",
        "acme/at-once",
        "all tenants/1000 requests per minute",
        "all tenants/10 requests per minute, ip *",
        "all tenants/100 requests per hour, tenant acme",
    ]
    assert report.notes == []
    assert not run(FILE).has_changes


@pytest.mark.django_db
def test_s0_20_a_limit_is_changed_in_its_place() -> None:
    """S0-20, S4-02: each figure is a setting."""
    run(FILE)
    run(
        FILE.replace("limit: 60,", "limit: 90,").replace(
            "unit: concurrent, limit: 20", "unit: requests, per: hour, limit: 5"
        )
    )

    assert Limit.objects.get(per="minute", tenant__slug="acme", unit="requests").limit == 90
    assert (Limit.objects.get(name="at-once").rule, Limit.objects.count()) == ("5 requests per hour", 7)


def test_s3_15_the_files_quota_takes_the_plans_place(pg: psycopg.Connection) -> None:
    """S3-15: a paid plan's 500,000 tokens a day, unless the tenant has its own."""
    run(FILE)
    quotas = [info.limit for info in load(pg).infos if (info.unit, info.per) == ("tokens", "day")]
    assert quotas == [400_000]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{unit: words, limit: 1}", "limits[0].unit: invalid enum value 'words'"),
        ("{unit: requests, limit: 1}", "limits[0].per: requests are counted per minute, hour or day"),
        ("{unit: requests, per: week, limit: 1}", "limits[0].per"),
        ("{unit: requests, per: minute}", "limits[0]: lacks `limit`"),
        ("{unit: requests, per: minute, limit: -1}", "limits[0].limit: A limit is between 0 and"),
        ("{unit: requests, per: minute, limit: 1, scope: {colour: red}}", "limits[0].scope: 'colour' is no dimension"),
        ("{unit: requests, per: minute, limit: 1, scope: {key: nobody}}", "limits[0].scope: there is no key named"),
        ("{unit: requests, per: minute, limit: 1, scope: {user: yes}}", "limits[0].scope.user: True is read as"),
        ("{unit: requests, per: minute, limit: 1}, {unit: requests, per: minute, limit: 2}", "stands here twice"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_place(entry: str, said: str) -> None:
    assert said in problem(f"tenants: [{{slug: acme, limits: [{entry}]}}]")
    assert said in problem(f"limits: [{entry}]")
    assert not Limit.objects.exists()
