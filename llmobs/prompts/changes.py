"""Every change of a prompt: one transaction under the prompt's lock, with its entry in the audit trail.

1. A new version never becomes current by itself: it is tried in a test and promoted, or made current by a decision
   of its own, which the trail marks as untested.
2. `promote` and `stop_test` end a test with its results recorded; promoting makes the variant current, and the old
   current stays as the version it is.
3. `roll_back` makes the version current that was so before.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from secrets import token_hex
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from llmobs.prompts.assignment import WHOLE, even_shares, share_of
from llmobs.prompts.content import Content
from llmobs.prompts.models import MOST_EARLIER, Experiment, Label, Prompt, PromptVersion
from llmobs.prompts.results import results_json
from llmobs.tenants import audit
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection
from llmobs.tenants.problem import Conflict

HALF = Decimal(50)


def make(tenant: Tenant, name: str, content: Content, actor: str, note: str = "") -> Prompt:
    """A prompt with its first version, which is current. Raises ValidationError."""
    with transaction.atomic():
        prompt = Prompt(tenant=tenant, name=name)
        audit.save(prompt, actor)
        _write(prompt, 1, content, actor, note)
        return prompt


def add_version(prompt: Prompt, content: Content, actor: str, note: str = "") -> PromptVersion:
    """The next version; what is current stays so. Raises ValidationError."""
    with _locked(prompt) as held:
        last = held.versions.aggregate(last=Max("number"))["last"] or 0
        return _write(held, last + 1, content, actor, note)


def set_current(prompt: Prompt, number: int, actor: str) -> None:
    """Make a version current by decision. Raises ValidationError, Conflict while a test runs."""
    with _locked(prompt) as held:
        if held.current == number:
            return
        if running(held) is not None:
            raise Conflict("A test of this prompt is running: promote one of its variants, or stop it first.")
        _make_current(held, number, actor, "set_current" if was_tested(held, number) else "set_current_untested")
    prompt.refresh_from_db()


def roll_back(prompt: Prompt, actor: str) -> None:
    """Make the version current that was so before. Raises Conflict where there is none, or a test runs."""
    with _locked(prompt) as held:
        if running(held) is not None:
            raise Conflict("A test of this prompt is running: stop it first.")
        if not held.earlier:
            raise Conflict(f"No other version of {held} was current before.")
        *held.earlier, held.current = held.earlier
        audit.save(held, actor, "rollback")
    prompt.refresh_from_db()


def set_label(prompt: Prompt, name: str, number: int | None, actor: str) -> None:
    """Point a label at a version; None takes it away. Raises ValidationError."""
    with _locked(prompt) as held:
        label = Label.objects.filter(prompt=held, name=name).first()
        if number is not None:
            label = label or Label(prompt=held, name=name)
            label.version = number
            audit.save(label, actor, "label")
        elif label is not None:
            audit.delete(label, actor)


def start_test(
    prompt: Prompt,
    variants: Sequence[tuple[int, object]],
    actor: str,
    control_percentage: object = None,
    now: datetime | None = None,
) -> Experiment:
    """Try versions against the current one. A variant's percentage may be None: they share what is left evenly.

    Without percentages control has half. Raises ValidationError, Conflict where a test runs.
    """
    with _locked(prompt) as held:
        if running(held) is not None:
            raise Conflict("A test of this prompt is running: promote one of its variants, or stop it first.")
        try:
            control, shared = shares(control_percentage, [percentage for _, percentage in variants])
        except ValueError as error:
            raise ValidationError({"variants": str(error)}) from None
        test = Experiment(
            prompt=held,
            control=held.current,
            control_percentage=control,
            variants=[
                {"version": version, "percentage": str(percentage)}
                for (version, _), percentage in zip(variants, shared, strict=True)
            ],
            salt=token_hex(8),
            started_at=now or timezone.now(),
        )
        audit.save(test, actor, "start_test")
        return test


def stop_test(prompt: Prompt, actor: str, now: datetime | None = None) -> Experiment:
    """End the test with its results recorded; nothing else changes. Raises Conflict where none runs."""
    with _locked(prompt) as held:
        return _end(held, _running(held), None, actor, "stop_test", now or timezone.now())


def promote(prompt: Prompt, version: int | None, actor: str, now: datetime | None = None) -> Experiment:
    """Make a variant of the running test current and end the test with its results recorded.

    `version` may be left out where the test has one variant. Raises Conflict where no test runs, or the version is
    not in it.
    """
    with _locked(prompt) as held:
        test = _running(held)
        winner = _winner(test, version)
        ended = _end(held, test, winner, actor, "end_test", now or timezone.now())
        _make_current(held, winner, actor, "promote")
    prompt.refresh_from_db()
    return ended


def running(prompt: Prompt) -> Experiment | None:
    """The prompt's test, if one runs."""
    return prompt.experiments.filter(ended_at=None).select_related("prompt__tenant").first()


def was_tested(prompt: Prompt, number: int) -> bool:
    """Whether a test of this prompt ever gave the version to callers."""
    return any(number in test.numbers for test in prompt.experiments.all())


@contextmanager
def _locked(prompt: Prompt) -> Iterator[Prompt]:
    with transaction.atomic():
        yield Prompt.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=prompt.pk)


def _write(prompt: Prompt, number: int, content: Content, actor: str, note: str) -> PromptVersion:
    version = PromptVersion(
        prompt=prompt,
        number=number,
        messages=content.messages,
        model=content.model,
        params=content.params,
        variables=content.variables,
        note=note,
        created_by=actor[:200],
    )
    version.full_clean()
    version.save()
    # The version stays as it is: the trail names it, and needs no copy of its text.
    audit.record(actor, "create", version, {"version": [None, number], "note": [None, note]})
    return version


def _make_current(prompt: Prompt, number: int, actor: str, action: str) -> None:
    if number == prompt.current:
        return
    prompt.earlier = [*prompt.earlier, prompt.current][-MOST_EARLIER:]
    prompt.current = number
    audit.save(prompt, actor, action)


def _running(prompt: Prompt) -> Experiment:
    found = running(prompt)
    if found is None:
        raise Conflict(f"No test of {prompt} is running.")
    return found


def _winner(test: Experiment, version: int | None) -> int:
    if version is None and len(test.variants) == 1:
        return int(test.variants[0]["version"])
    if version is None:
        raise Conflict(f"The test has several variants: name the version, one of {test.numbers[1:]}.")
    if version not in test.numbers[1:]:
        raise Conflict(f"Version {version} is no variant of the running test; those are {test.numbers[1:]}.")
    return version


def _end(prompt: Prompt, test: Experiment, winner: int | None, actor: str, action: str, now: datetime) -> Experiment:
    test.ended_at, test.winner = now, winner
    test.results = measured(prompt, test, now)
    audit.save(test, actor, action)
    return test


def measured(prompt: Prompt, test: Experiment, now: datetime) -> dict[str, Any]:
    """Each arm's figures from the test's begin to its end (or now), as they are recorded."""
    end = test.ended_at or now
    found = results_json(plain_connection(), prompt.tenant_id, prompt.name, test.started_at, end, test.numbers)
    percentages = [test.control_percentage, *(each["percentage"] for each in test.variants)]
    arms = [
        {"arm": "control" if index == 0 else "variant", "percentage": float(percentages[index]), **found[number]}
        for index, number in enumerate(test.numbers)
    ]
    return {"from": test.started_at.isoformat(), "to": end.isoformat(), "arms": arms}


def shares(control: object, given: Sequence[object]) -> tuple[Decimal, list[Decimal]]:
    """Percentages of control and of the variants, those left out (None) filled in. Raises ValueError."""
    from_given = [None if percentage is None else share_of(percentage) for percentage in given]
    known = sum(share for share in from_given if share is not None)
    open_count = from_given.count(None)
    own = share_of(control) if control is not None else (share_of(HALF) if open_count else WHOLE - known)
    rest = iter(even_shares(max(WHOLE - own - known, 0), open_count) if open_count else [])
    parts = [next(rest) if share is None else share for share in from_given]
    return Decimal(own) / 100, [Decimal(share) / 100 for share in parts]
