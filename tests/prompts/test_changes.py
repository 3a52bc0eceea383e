"""Versions, tests, promotion and roll-back: what changes, what never does, and what is recorded."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, close_old_connections, connection, transaction

from llmobs.evals.models import Score
from llmobs.prompts import changes
from llmobs.prompts.content import Content
from llmobs.prompts.models import Experiment, Prompt, PromptVersion
from llmobs.tenants.models import AuditEntry, Tenant
from llmobs.tenants.problem import Conflict
from tests.prompts.spans import write_call

ACTOR = "olga"


def content(text: str = "Answer {{name}}.") -> Content:
    return Content([{"role": "system", "content": text}])


@pytest.fixture
def prompt(db: None) -> Prompt:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    prompt = changes.make(tenant, "greet", content(), ACTOR)
    changes.add_version(prompt, content("Answer {{name}} kindly."), ACTOR, "kinder")
    changes.add_version(prompt, content("Answer {{name}} at length."), ACTOR)
    return prompt


def test_a_new_version_does_not_become_current_by_itself(prompt: Prompt) -> None:
    """S2-23: a version is tried in a test before all callers get it."""
    prompt.refresh_from_db()
    assert prompt.current == 1
    assert list(prompt.versions.values_list("number", flat=True)) == [1, 2, 3]
    assert [entry.change["version"] for entry in AuditEntry.objects.filter(kind="prompt version").order_by("pk")] == [
        [None, 1], [None, 2], [None, 3],
    ]  # fmt: skip


def test_a_version_made_current_without_a_test_is_marked_so(prompt: Prompt) -> None:
    """S2-23: who leaves the A/B test out says so in the audit trail."""
    changes.set_current(prompt, 2, ACTOR)
    assert AuditEntry.objects.filter(action="set_current_untested").count() == 1
    test = changes.start_test(prompt, [(3, None)], ACTOR)
    changes.stop_test(prompt, ACTOR)
    changes.set_current(prompt, 3, ACTOR)
    assert test.winner is None
    assert AuditEntry.objects.get(action="set_current").change == {"current": [2, 3], "earlier": [[1], [1, 2]]}


def test_no_door_changes_a_version(prompt: Prompt) -> None:
    """S2-19: what a version says is the same for ever: spans and cached answers name it by its number."""
    version = prompt.versions.get(number=2)
    version.note = "another"
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        version.save()
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        PromptVersion.objects.update(messages=[])


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Content([]), "messages"),
        (Content([{"role": "tool", "content": "x"}]), "messages"),
        (Content([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]), "messages"),
        (Content([{"role": "user", "content": ""}]), "messages"),
        (Content([{"role": "user", "content": "{{#each}}"}]), "messages"),
        (Content([{"role": "user", "content": "x" * 200_001}]), "messages"),
        (Content([{"role": "user", "content": "x"}], params={"stream": True}), "params"),
        (Content([{"role": "user", "content": "x"}], variables={"a b": "c"}), "variables"),
        (Content([{"role": "user", "content": "x"}], variables={"a": 3}), "variables"),  # type: ignore[dict-item]
    ],
)
def test_a_version_that_no_call_could_use_is_refused(prompt: Prompt, wrong: Content, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        changes.add_version(prompt, wrong, ACTOR)
    assert field in refused.value.message_dict
    assert prompt.versions.count() == 3


def test_variables_are_declared_by_their_use(prompt: Prompt) -> None:
    given = Content([{"role": "user", "content": "{{a}} {{b}} {{a}}"}], variables={"b": "2"})
    assert changes.add_version(prompt, given, ACTOR).variables == {"a": None, "b": "2"}


def test_a_tests_start_is_recorded_and_half_is_control(prompt: Prompt) -> None:
    """S2-21: the start time is kept. S2-20: control_percentage is 50 where nothing is said."""
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    test = changes.start_test(prompt, [(2, None)], ACTOR, now=at)
    test.refresh_from_db()
    assert (test.started_at, test.ended_at, test.control, float(test.control_percentage)) == (at, None, 1, 50)
    assert test.variants == [{"version": 2, "percentage": "50"}]
    assert len(test.salt) == 16


@pytest.mark.parametrize(
    ("control", "variants", "shares"),
    [
        (80, [(2, None)], ["20"]),
        (None, [(2, 30), (3, 20)], ["30", "20"]),
        (None, [(2, None), (3, None)], ["25", "25"]),
        (0, [(2, 50.5), (3, None)], ["50.5", "49.5"]),
    ],
)
def test_several_variants_share_what_control_leaves(
    prompt: Prompt, control: object, variants: list[tuple[int, object]], shares: list[str]
) -> None:
    test = changes.start_test(prompt, variants, ACTOR, control)
    assert [each["percentage"] for each in test.variants] == shares


@pytest.mark.parametrize(
    ("control", "variants"),
    [(50, [(2, 20)]), (50, [(9, None)]), (50, [(1, None)]), (90, [(2, 20)]), (50, [(2, 25), (2, 25)]), (50.123, [])],
)
def test_a_test_that_does_not_add_up_is_refused(
    prompt: Prompt, control: object, variants: list[tuple[int, object]]
) -> None:
    with pytest.raises(ValidationError):
        changes.start_test(prompt, variants, ACTOR, control)


def test_one_test_runs_at_a_time_and_the_database_holds_that(prompt: Prompt) -> None:
    """S2-21: one active test per prompt."""
    test = changes.start_test(prompt, [(2, None)], ACTOR)
    with pytest.raises(Conflict, match="is running"):
        changes.start_test(prompt, [(3, None)], ACTOR)
    test.pk = None
    with pytest.raises(IntegrityError, match="one_active_test_per_prompt"), transaction.atomic():
        test.save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_start_a_test_at_once_one_does() -> None:
    """S2-21: one active test per prompt, for concurrent callers too."""
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    prompt = changes.make(tenant, "greet", content(), ACTOR)
    changes.add_version(prompt, content("other"), ACTOR)
    outcomes: list[str] = []

    def start() -> None:
        try:
            changes.start_test(prompt, [(2, None)], ACTOR)
            outcomes.append("started")
        except Conflict:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close_old_connections()
    assert sorted(outcomes) == ["refused"] * 5 + ["started"]


def test_promoting_makes_the_variant_current_and_keeps_the_old_version(prompt: Prompt) -> None:
    """S2-22: the variant becomes current, the old current stays as its version, the test ends, all of it audited."""
    changes.start_test(prompt, [(2, None)], ACTOR)
    ended = changes.promote(prompt, None, ACTOR)
    assert (prompt.current, prompt.earlier, ended.winner) == (2, [1], 2)
    assert ended.ended_at is not None
    assert prompt.versions.get(number=1).messages == content().messages
    told = AuditEntry.objects.filter(action__in=("start_test", "end_test", "promote")).order_by("pk")
    assert [entry.action for entry in told] == ["start_test", "end_test", "promote"]
    assert told[2].change["current"] == [1, 2]


def test_without_a_test_nothing_is_promoted(prompt: Prompt) -> None:
    """S2-22: an error if there is no test."""
    with pytest.raises(Conflict, match="No test of acme/greet is running"):
        changes.promote(prompt, 2, ACTOR)
    with pytest.raises(Conflict, match="No test"):
        changes.stop_test(prompt, ACTOR)


def test_of_several_variants_the_one_named_is_promoted(prompt: Prompt) -> None:
    """S2-22: more than one variant."""
    changes.start_test(prompt, [(2, None), (3, None)], ACTOR)
    for wrong in (None, 1, 9):
        with pytest.raises(Conflict):
            changes.promote(prompt, wrong, ACTOR)
    changes.promote(prompt, 3, ACTOR)
    assert (prompt.current, changes.running(prompt)) == (3, None)


def test_the_results_are_recorded_where_a_test_ends(prompt: Prompt) -> None:
    """S2-22: per arm its calls, errors, cost, p95, tokens and score, over the test's time and no other."""
    begin = datetime.now(UTC) - timedelta(minutes=30)
    test = changes.start_test(prompt, [(2, None)], ACTOR, now=begin)
    at = begin + timedelta(minutes=1)
    tenant_id = prompt.tenant_id
    for seconds in range(1, 5):
        write_call(tenant_id, "greet@1", at, cost_nanousd=1_000_000, duration_ms=100 * seconds)
    failed = write_call(tenant_id, "greet@2", at, cost_nanousd=0, status="failed", duration_ms=900)
    trace = write_call(tenant_id, "greet@2", at, cost_nanousd=3_000_000, duration_ms=700)
    write_call(tenant_id, "greet@2", begin - timedelta(minutes=5), cost_nanousd=10**12)
    write_call(tenant_id, "greet@3", at, cost_nanousd=10**12)
    write_call(tenant_id + 1, "greet@2", at, cost_nanousd=10**12)
    for trace_id, value in ((trace, 9), (failed, 4)):
        Score.objects.create(tenant_id=tenant_id, trace_id=trace_id, name="helpful", value=value, source="judge")
    Score.objects.create(tenant_id=tenant_id, trace_id=trace, name="thumb", value=-1, source="api")

    changes.promote(prompt, 2, ACTOR)

    test = Experiment.objects.get(pk=test.pk)
    assert test.results is not None
    control, variant = test.results["arms"]
    assert (control["arm"], control["version"], control["percentage"]) == ("control", 1, 50.0)
    assert (control["calls"], control["errors"], control["error_rate"], control["score"]) == (4, 0, 0.0, None)
    assert (control["cost_usd"], control["cost_per_call_usd"]) == ("0.004", "0.001")
    assert control["p95_ms"] == pytest.approx(385)
    assert (variant["arm"], variant["calls"], variant["errors"], variant["error_rate"]) == ("variant", 2, 1, 0.5)
    assert (variant["cost_usd"], variant["score"], variant["input_tokens"]) == ("0.003", 6.5, 20)
    assert variant["scores"] == {"helpful": {"mean": 6.5, "count": 2}, "thumb": {"mean": -1.0, "count": 1}}


def test_the_attempts_of_one_call_are_one_call(prompt: Prompt) -> None:
    """A call that was tried twice is one call at the money of both, and a refused one is none."""
    at = datetime.now(UTC) - timedelta(minutes=1)
    test = changes.start_test(prompt, [(2, None)], ACTOR, now=at - timedelta(minutes=1))
    call_id, trace_id = b"c" * 8, b"t" * 16
    own: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": call_id,
        "is_call": False,
        "cost_nanousd": None,
    }
    write_call(prompt.tenant_id, "greet@1", at, duration_ms=900, **own)
    tried: dict[str, Any] = {"trace_id": trace_id, "parent_span_id": call_id}
    write_call(prompt.tenant_id, "greet@1", at, status="failed", cost_nanousd=1_000, **tried)
    write_call(prompt.tenant_id, "greet@1", at, cost_nanousd=2_000, **tried)
    write_call(prompt.tenant_id, "greet@1", at, status="refused", cost_nanousd=None)
    results = changes.measured(prompt, test, datetime.now(UTC))
    arm = results["arms"][0]
    assert (arm["calls"], arm["errors"], arm["cost_usd"], arm["p95_ms"]) == (1, 0, "0.000003", 900.0)


def test_rolling_back_goes_through_what_was_current(prompt: Prompt) -> None:
    """S2-22: the previous current again; each roll-back is an entry of the trail."""
    changes.start_test(prompt, [(2, None)], ACTOR)
    with pytest.raises(Conflict, match="is running"):
        changes.roll_back(prompt, ACTOR)
    changes.promote(prompt, 2, ACTOR)
    changes.set_current(prompt, 3, ACTOR)
    changes.roll_back(prompt, ACTOR)
    assert prompt.current == 2
    changes.roll_back(prompt, ACTOR)
    assert prompt.current == 1
    with pytest.raises(Conflict, match="was current before"):
        changes.roll_back(prompt, ACTOR)
    assert AuditEntry.objects.filter(action="rollback").count() == 2


def test_a_label_points_at_a_version_and_moves(prompt: Prompt) -> None:
    """S2-19: a version by a name that can be moved."""
    changes.set_label(prompt, "production", 1, ACTOR)
    changes.set_label(prompt, "production", 3, ACTOR)
    assert prompt.labels.get().version == 3
    for name, version in (("latest", 1), ("current", 1), ("v2", 1), ("3", 1), ("staging", 9)):
        with pytest.raises(ValidationError):
            changes.set_label(prompt, name, version, ACTOR)
    changes.set_label(prompt, "production", None, ACTOR)
    assert not prompt.labels.exists()
    assert [entry.action for entry in AuditEntry.objects.filter(kind="label").order_by("pk")] == [
        "label", "label", "delete",
    ]  # fmt: skip


def test_every_change_reaches_the_gateways(prompt: Prompt) -> None:
    def version() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version FROM config_version")
            return int(cursor.fetchone()[0])

    steps = (
        lambda: changes.add_version(prompt, content("new"), ACTOR),
        lambda: changes.set_label(prompt, "staging", 2, ACTOR),
        lambda: changes.start_test(prompt, [(2, None)], ACTOR),
        lambda: changes.promote(prompt, 2, ACTOR),
        lambda: changes.roll_back(prompt, ACTOR),
    )
    for step in steps:
        before = version()
        step()
        assert version() > before
