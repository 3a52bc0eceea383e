"""`apply`: strict, all or nothing, idempotent; secrets once."""

import io
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from llmobs.alerts.models import Channel
from llmobs.budgets.models import Budget
from llmobs.evals.models import Judge
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.applying import Report
from llmobs.ops.configuring.entry import ConfigurationError
from llmobs.ops.waiting import wait_until_live
from llmobs.pricing.models import Price
from llmobs.providers.credentials import open_credential
from llmobs.providers.models import Provider, Route
from llmobs.tenants.audit import Outcome
from llmobs.tenants.keys import secret_hash
from llmobs.tenants.models import AuditEntry, Key, Tenant

FERNET = (Fernet.generate_key().decode(),)
SECRET = "acme-secret-of-the-tests-0001"

WHOLE = """
providers:
  - {name: openai, dialect: openai, base_url: http://simulator:4100/v1, credential: sk-plain-credential}
  - {name: anthropic, dialect: anthropic, base_url: https://api.anthropic.com, credential: env:ANTHROPIC_API_KEY}
models:
  - {provider: local, model: llama-3, input_usd_per_mtok: "0.05", output_usd_per_mtok: 0.10}
routes:
  - name: smart
    candidates:
      - {provider: anthropic, model: claude-sonnet-4-5, weight: 1}
      - {provider: openai, model: gpt-4o}
    strategy: fallback
tenants:
  - slug: acme
    name: Acme
    content: full
    time_zone: Europe/Berlin
    keys:
      - {name: prod, secret: "env:ACME_KEY", feature: checkout, allowed_models: ["smart", "gpt-*"], cache: off}
      - {name: second}
    budgets:
      - {name: monthly, limit_usd: "250.00", window: month, action: block, thresholds: [70, 80, 100]}
      - {name: per-user, limit_usd: 1.5, window: day, scope: {user: "*"}}
      - {name: tokens, limit_tokens: 5000000, scope: {feature: chat, key: prod}, action: alert}
judges:
  - {name: helpful, model: smart, key: acme/prod, tenant: acme, sample: 0.05, criteria: ["helpful and actionable"]}
alert_channels:
  - {name: ops, tenant: acme, url: "https://hooks.example.com/x"}
"""


def run(text: str, **options: Any) -> Report:
    return apply(parse(text), FERNET, environ={"ACME_KEY": SECRET}, **options)


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        run(text)
    return str(caught.value)


def tenant_with(budget: str) -> str:
    return f"tenants: [{{slug: acme, budgets: [{{name: b, {budget}}}]}}]"


@pytest.mark.django_db
def test_it_makes_all_that_the_file_names() -> None:
    report = run(WHOLE)

    assert report.count(Outcome.CREATED) == 12
    acme = Tenant.objects.get(slug="acme")
    assert (acme.name, acme.content, acme.time_zone) == ("Acme", "full", "Europe/Berlin")
    assert Budget.objects.get(name="monthly").limit_nanousd == 250_000_000_000
    assert Budget.objects.get(name="per-user").limit_nanousd == 1_500_000_000
    assert Budget.objects.get(name="tokens").limit_tokens == 5_000_000
    assert Key.objects.get(name="prod").secret_hash == secret_hash(SECRET)
    assert [str(c) for c in Route.objects.get(name="smart").candidates.all()] == [
        "anthropic/claude-sonnet-4-5",
        "openai/gpt-4o",
    ]
    assert str(Price.objects.get().output_usd_per_mtok) == "0.100000"
    assert str(Judge.objects.get().sample) == "0.05000"
    assert Channel.objects.get().tenant == acme


@pytest.mark.django_db
def test_a_second_time_nothing_changes_and_no_entry_is_written() -> None:
    run(WHOLE)
    entries = AuditEntry.objects.count()

    again = run(WHOLE)

    assert not again.has_changes
    assert again.secrets == {}
    assert AuditEntry.objects.count() == entries


@pytest.mark.django_db
def test_a_key_without_a_secret_gets_one_that_is_reported_once() -> None:
    report = run(WHOLE)

    assert list(report.secrets) == ["acme/second", "signing secret of ops"]
    assert Key.objects.get(name="second").secret_hash == secret_hash(report.secrets["acme/second"])
    assert report.secrets["acme/second"] not in repr(report)


@pytest.mark.django_db
def test_what_is_written_in_several_steps_is_told_once() -> None:
    text = "tenants: [{slug: acme, guards: {injection: block}, cache: {default: exact}}]"

    assert [str(told.outcome) for told in run(text).applied] == ["created"]
    assert [str(told.outcome) for told in run(text).applied] == ["unchanged"]
    assert [str(told.outcome) for told in run(text.replace("exact", '"off"')).applied] == ["changed"]


@pytest.mark.django_db
def test_a_credential_is_sealed_at_rest_and_a_reference_stays_one() -> None:
    run(WHOLE)

    sealed = Provider.objects.get(name="openai").credential
    assert "sk-plain-credential" not in sealed
    assert open_credential(sealed, FERNET) == "sk-plain-credential"
    assert Provider.objects.get(name="anthropic").credential == "env:ANTHROPIC_API_KEY"


@pytest.mark.django_db
def test_a_variable_that_is_not_set_here_is_pointed_out_and_kept() -> None:
    text = "providers: [{name: p, dialect: openai, base_url: 'http://h/v1', credential: 'env:NOT_SET_ANYWHERE'}]"

    [note] = run(text).notes

    assert note.startswith("providers[0].credential: NOT_SET_ANYWHERE is not set here")
    assert apply(parse(text), FERNET, environ={"NOT_SET_ANYWHERE": "sk-1"}).notes == []
    assert Provider.objects.get().credential == "env:NOT_SET_ANYWHERE"


@pytest.mark.django_db
def test_the_audit_trail_tells_of_each_change_without_secrets() -> None:
    run(WHOLE)
    run(WHOLE.replace('"250.00"', '"300"'))

    entry = AuditEntry.objects.get(action="change", kind="budget")
    assert (entry.actor, entry.kind, entry.name) == ("apply", "budget", "acme/monthly")
    assert entry.change == {"limit_nanousd": [250_000_000_000, 300_000_000_000]}
    told = str(list(AuditEntry.objects.values_list("change", flat=True)))
    assert SECRET not in told
    assert secret_hash(SECRET) not in told
    assert "sk-plain" not in told
    assert "hooks.example.com/x" not in told


@pytest.mark.django_db
def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    report = run(WHOLE, is_dry_run=True)

    assert report.count(Outcome.CREATED) == 12
    assert report.secrets == {}
    assert not Tenant.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_an_error_at_the_end_takes_all_of_it_back() -> None:
    with pytest.raises(ConfigurationError, match=r"alert_channels\[0\]\.tenant: there is no tenant 'nobody'"):
        run(WHOLE.replace("{name: ops, tenant: acme", "{name: ops, tenant: nobody"))

    assert not Tenant.objects.exists()
    assert not Provider.objects.exists()


@pytest.mark.django_db
def test_a_changed_window_starts_a_new_revision_but_a_changed_limit_does_not() -> None:
    run(WHOLE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('llmobs.counts_budgets', 'on', true)")
        cursor.execute("UPDATE budgets_budget SET counted_at = now()")
        cursor.execute("SELECT set_config('llmobs.counts_budgets', 'off', true)")

    run(WHOLE.replace('"250.00", window: month', '"300.00", window: month').replace("window: day", "window: week"))

    monthly, per_user = Budget.objects.get(name="monthly"), Budget.objects.get(name="per-user")
    assert (monthly.revision, monthly.counted_at is None) == (1, False)
    assert (per_user.revision, per_user.counted_at is None) == (2, True)


@pytest.mark.django_db
def test_another_time_zone_starts_new_revisions() -> None:
    run(WHOLE)

    run(WHOLE.replace("Europe/Berlin", "Asia/Tokyo"))

    assert set(Budget.objects.values_list("revision", flat=True)) == {2}


@pytest.mark.django_db
def test_a_changed_price_is_a_new_row_from_now_on() -> None:
    run(WHOLE)
    run(WHOLE.replace('"0.05", output', '"0.06", output'))

    newest, oldest = Price.objects.all()
    assert (str(oldest.input_usd_per_mtok), str(newest.input_usd_per_mtok)) == ("0.050000", "0.060000")
    assert oldest.effective_from < newest.effective_from
    assert not run(WHOLE.replace('"0.05", output', '"0.06", output')).has_changes


@pytest.mark.django_db
def test_a_revoked_key_is_not_brought_back() -> None:
    run(WHOLE)
    Key.objects.filter(name="prod").update(revoked_at="2026-01-01T00:00:00Z")

    assert "tenants[0].keys[0].name: the key acme/prod was revoked at 2026-01-01 00:00 UTC" in problem(WHOLE)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenants: [{slug: acme, colour: red}]", "tenants[0].colour: no such setting"),
        ("tenant: []", "tenant: no such setting; did you mean tenants?"),
        ("- a\n- b", "expected providers, tenants …, found ['a', 'b']"),
        ("tenants: [{name: Acme}]", "tenants[0]: lacks `slug`"),
        ("tenants: [{slug: a b}]", "tenants[0].slug: "),
        ("tenants: [{slug: acme, time_zone: Mars/Base}]", "tenants[0].time_zone: 'Mars/Base' is no IANA time zone"),
        ("tenants: [{slug: acme, content: some}]", "tenants[0].content: invalid enum value 'some': 'some'; use full,"),
        (
            tenant_with("limit_usd: '1', window: fortnight"),
            "tenants[0].budgets[0].window: 'fortnight' is none of hour, day, week",
        ),
        (tenant_with("limit_usd: -1"), "tenants[0].budgets[0].limit_usd: -1 is not between 0 and 9,000,000 USD"),
        (tenant_with("limit_usd: '9000001'"), "tenants[0].budgets[0].limit_usd: 9000001 is not between"),
        (tenant_with("limit_usd: ten"), "tenants[0].budgets[0].limit_usd: 'ten' is not an amount of USD"),
        (tenant_with("limit_usd: 0.0000000001"), "has more than nine decimals"),
        (tenant_with("limit_tokens: -5"), "tenants[0].budgets[0].limit_tokens: -5 is not between"),
        (tenant_with("window: day"), "tenants[0].budgets[0]: a budget has limit_usd or limit_tokens"),
        (tenant_with("limit_usd: 1, scope: {colour: red}"), "tenants[0].budgets[0].scope: 'colour' is no dimension"),
        (tenant_with("limit_usd: 1, scope: {key: none}"), "tenants[0].budgets[0].scope: the tenant has no key named"),
        (tenant_with("limit_usd: 1, scope: {feature: off}"), "scope.feature: False is read as yes or no"),
        (tenant_with("limit_usd: 1, thresholds: [0]"), "tenants[0].budgets[0].thresholds: "),
        ("tenants: [{slug: acme, keys: [{name: k, secret: short}]}]", "tenants[0].keys[0].secret: shorter than 16"),
        ("tenants: [{slug: acme, keys: [{name: k, secret: 'env:NOT_SET'}]}]", "the variable NOT_SET is not set"),
        (
            "tenants: [{slug: acme, keys: [{name: k, cache: semantic}]}]",
            "tenants[0].keys[0].cache: The semantic cache is",
        ),
        (
            "tenants: [{slug: acme, cache: {default: fast}}]",
            "tenants[0].cache.default: 'fast': the cache is off or exact",
        ),
        (
            "tenants: [{slug: acme, cache: {ttl_seconds: {faq: -1}}}]",
            "tenants[0].cache.ttl_seconds: 'faq': -1 is not a whole number of seconds",
        ),
        ("routes: [{name: r, candidates: [{provider: p, model: m}]}]", "routes[0].candidates[0].provider: there is no"),
        ("routes: [{name: r, candidates: []}]", "routes[0].candidates: a route has at least one candidate"),
        (
            "providers: [{name: p, dialect: openai, base_url: nowhere}]",
            "providers[0].base_url: 'nowhere' is no address",
        ),
        ("models: [{provider: p, model: m}]", "models[0]: a price has input_usd_per_mtok"),
        ("slug: a\nslug: b", "'slug' stands here twice"),
        ("a: [", "not YAML"),
        ("tenants: !!python/object/apply:os.system [id]", "not YAML"),
    ],
)
def test_an_error_names_the_place_and_the_value(text: str, said: str) -> None:
    assert said in problem(text)
    assert not Tenant.objects.exists()


def bomb(part: str) -> str:
    """Each line stands for ten of the line before."""
    lines = [f"a0: &a0 {part}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    return "\n".join([*lines, "tenants: *a29"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb("x"), "more than 500,000 values"),
        (bomb("{x: 1}"), "more than 500,000 values"),
        ("tenants: &t [{slug: acme, keys: *t}]", "an alias stands within what it stands for"),
        ("tenants: " + "[" * 50_000, "nested too deep"),
        ('tenants: [{slug: acme, name: "a\\0b"}]', "a NUL"),
        ("<<: {tenants: []}", "merging (<<) is not read"),
        ("a: 2020-02-31", "day is out of range"),
    ],
)
def test_a_file_that_stands_for_too_much_or_for_nothing_is_refused_at_once(text: str, said: str) -> None:
    assert said in problem(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenants: [{slug: acme}, {slug: acme}]", "tenants[1]: 'acme' stands here twice (first at tenants[0])"),
        ("tenants: [{slug: a, keys: [{name: k}, {name: k}]}]", "tenants[0].keys[1]: 'k' stands here twice"),
        (
            "tenants: [{slug: a, budgets: [{name: b, limit_usd: 1}, {name: b, limit_usd: 2}]}]",
            "tenants[0].budgets[1]: 'b' stands here twice",
        ),
        (
            "models: [{provider: p, model: m, input_usd_per_mtok: 1}, {provider: p, model: m, input_usd_per_mtok: 2}]",
            "models[1]: 'p/m' stands here twice",
        ),
    ],
)
def test_two_entries_of_one_name_are_refused(text: str, said: str) -> None:
    assert said in problem(text)


def test_an_alias_may_be_used() -> None:
    shared = parse("tenants: [{slug: a, budgets: &b [{name: m, limit_usd: 5}]}, {slug: c, budgets: *b}]")

    assert shared.tenants[0].budgets == shared.tenants[1].budgets


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    said = problem("tenants: [{slug: acme, keys: [{name: k, secret: 123456789012345678}]}]")

    assert "tenants[0].keys[0].secret" in said
    assert "12345678" not in said


@pytest.fixture
def applied_file(tmp_path: Path) -> Path:
    file = tmp_path / "acme.yaml"
    file.write_text("tenants: [{slug: acme, keys: [{name: k}]}]")
    return file


@pytest.mark.django_db
def test_the_command_prints_what_changed_and_the_new_secret(applied_file: Path) -> None:
    out = io.StringIO()

    call_command("apply", str(applied_file), stdout=out)

    assert "+ tenant acme created\n+ key acme/k created\nkey acme/k: llmobs-" in out.getvalue()
    assert "2 created, 0 changed, 0 unchanged\nno gateway runs" in out.getvalue()


@pytest.mark.django_db
def test_the_command_says_in_one_message_why_a_file_was_not_applied(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tenants: [{slug: acme, plan: gold}]")

    with pytest.raises(CommandError, match=r"was not applied, nothing has changed:\ntenants\[0\]\.plan"):
        call_command("apply", str(file))


HEARTBEAT = "INSERT INTO heartbeat (owner, kind, host, pid, config_version, seen_at) VALUES (%s, %s, 'h', 1, %s, now())"


@pytest.mark.django_db
def test_waiting_ends_once_the_last_gateway_has_the_version() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM config_version")
        version = cursor.fetchone()[0]
        cursor.execute(HEARTBEAT, ["gateway-1", "gateway", version])
        cursor.execute(HEARTBEAT, ["gateway-2", "gateway", version - 1])
        pauses: list[float] = []

        def catch_up(seconds: float) -> None:
            pauses.append(seconds)
            cursor.execute("UPDATE heartbeat SET config_version = %s", [version])

        waited = wait_until_live(cursor, pause=catch_up)

    assert (waited.is_live, waited.gateways, len(pauses)) == (True, 2, 1)


@pytest.mark.django_db
def test_waiting_is_bounded_and_names_the_gateway_that_is_behind() -> None:
    with connection.cursor() as cursor:
        cursor.execute(HEARTBEAT, ["gateway-1", "gateway", 0])

        waited = wait_until_live(cursor, most_seconds=0)

    assert not waited.is_live
    assert "gateway-1 has 0" in str(waited)


@pytest.mark.django_db
def test_waiting_asks_that_new_budgets_are_counted_if_a_writer_runs() -> None:
    run(WHOLE)
    with connection.cursor() as cursor:
        assert wait_until_live(cursor, most_seconds=0).is_live
        cursor.execute(HEARTBEAT, ["writer-1", "writer", 0])

        waited = wait_until_live(cursor, most_seconds=0)

    assert (waited.is_live, waited.uncounted) == (False, 3)
