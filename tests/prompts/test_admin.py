"""Prompts in the admin: lists open, a version is written and then only read, a roll-back is an action."""

from typing import Any

import pytest
from django.test import Client

from llmobs.prompts import changes
from llmobs.prompts.content import Content
from llmobs.prompts.models import Prompt
from llmobs.tenants.models import AuditEntry
from tests.tenants.cast import Cast, make_cast


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def operator(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.olga)
    return client


@pytest.fixture
def prompt(cast: Cast) -> Prompt:
    prompt = changes.make(cast.acme, "greet", Content([{"role": "system", "content": "one"}]), "tests")
    changes.add_version(prompt, Content([{"role": "system", "content": "two"}]), "tests")
    changes.start_test(prompt, [(2, None)], "tests")
    return prompt


@pytest.mark.parametrize("address", ["prompts/prompt", "prompts/promptversion", "prompts/experiment"])
def test_every_list_and_detail_opens_for_an_operator_and_for_nobody_else(
    cast: Cast, operator: Client, prompt: Prompt, address: str
) -> None:
    row: Any = {"prompt": prompt, "promptversion": prompt.versions.get(number=2)}.get(address[8:])
    row = row or prompt.experiments.get()
    member = Client()
    member.force_login(cast.alice)
    for path in (f"/admin/{address}/", f"/admin/{address}/{row.pk}/change/"):
        assert operator.get(path).status_code == 200
        assert member.get(path).status_code in (302, 403)


def test_the_next_version_is_written_in_the_admin(operator: Client, prompt: Prompt) -> None:
    """S2-19: an operator writes a version; it has the next number, and is not current."""
    form = {
        "prompt": prompt.pk, "messages": '[{"role": "user", "content": "three {{name}}"}]', "params": "{}",
        "variables": "{}", "model": "", "note": "longer",
    }  # fmt: skip
    answer = operator.post("/admin/prompts/promptversion/add/", form)
    assert answer.status_code == 302, answer.content
    version = prompt.versions.get(number=3)
    assert (version.variables, version.created_by, version.note) == ({"name": None}, "olga", "longer")
    assert Prompt.objects.get().current == 1
    wrong = operator.post("/admin/prompts/promptversion/add/", {**form, "messages": "[]"})
    assert wrong.status_code == 200
    assert "A list of 1 to" in wrong.content.decode()


def test_a_test_is_stopped_and_a_prompt_rolled_back(operator: Client, prompt: Prompt) -> None:
    """S2-22: roll-back from the list; what cannot be is said."""

    def act(action: str) -> str:
        form = {"action": action, "_selected_action": [prompt.pk]}
        return operator.post("/admin/prompts/prompt/", form, follow=True).content.decode()

    assert "is running: stop it first" in act("roll_back")
    act("stop_tests")
    assert changes.running(prompt) is None
    changes.set_current(prompt, 2, "tests")
    act("roll_back")
    assert Prompt.objects.get().current == 1
    assert AuditEntry.objects.get(action="rollback").actor == "olga"


def test_a_label_is_set_beside_its_prompt(operator: Client, prompt: Prompt) -> None:
    form = {
        "labels-TOTAL_FORMS": 1, "labels-INITIAL_FORMS": 0, "labels-0-prompt": prompt.pk, "labels-0-name": "production",
        "labels-0-version": 2,
    }  # fmt: skip
    answer = operator.post(f"/admin/prompts/prompt/{prompt.pk}/change/", form)
    assert answer.status_code == 302, answer.content
    assert prompt.labels.get().version == 2
