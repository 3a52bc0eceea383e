"""`apply`: what prompts of the file become, what a second run leaves alone, and what is refused with its place."""

from pathlib import Path

import pytest

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.applying import Report
from llmobs.ops.configuring.entry import ConfigurationError
from llmobs.prompts import changes
from llmobs.prompts.models import Prompt

PROMPT = """
tenants: [{slug: acme}]
prompts:
  - name: greet
    tenant: acme
    messages:
      - {role: system, content: "Answer {{name}}, {{tone}}."}
      - {role: user, content: Hi}
    variables: {tone: kindly, size: 3}
    model: smart
    params: {temperature: 0.2, max_tokens: 50}
    labels: {production: 1}
"""
TWO = """
tenants:
  - slug: acme
    prompts:
      - name: greet
        versions:
          - {text: one}
          - {text: "two {{name}}", note: longer}
        labels: {staging: 2}
        experiment: {variant: 2, control_percentage: 80}
"""


def run(text: str) -> Report:
    return apply(parse(text), ())


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        run(text)
    return str(refused.value)


def outcomes(report: Report) -> list[str]:
    return [f"{entry.outcome} {entry.name}" for entry in report.applied if entry.kind == "prompt"]


@pytest.mark.django_db
def test_a_prompt_of_the_file_is_made_and_a_second_run_changes_nothing() -> None:
    """S0-51: prompts kept in git reach the registry; the same content is no new version."""
    assert outcomes(run(PROMPT)) == ["created acme/greet"]
    assert outcomes(run(PROMPT)) == ["unchanged acme/greet"]
    version = Prompt.objects.get().versions.get()
    assert version.variables == {"name": None, "tone": "kindly", "size": "3"}
    assert (version.model, version.params) == ("smart", {"temperature": 0.2, "max_tokens": 50})
    assert Prompt.objects.get().labels.get().version == 1


@pytest.mark.django_db
def test_new_content_is_the_next_version_and_current() -> None:
    run(PROMPT)
    report = run(PROMPT.replace("Answer", "Reply to"))
    prompt = Prompt.objects.get()
    assert outcomes(report) == ["changed acme/greet"]
    assert (prompt.current, prompt.versions.count(), prompt.labels.get().version) == (2, 2, 1)
    assert "without an A/B test" in report.notes[0]


@pytest.mark.django_db
def test_the_file_does_not_undo_what_was_promoted_since() -> None:
    """S2-22: the file that brought the first version leaves the promoted one current."""
    run(TWO)
    changes.promote(Prompt.objects.get(), 2, "olga")
    assert outcomes(run(TWO)) == ["unchanged acme/greet"]
    assert outcomes(run(PROMPT.replace("messages:", "messages: &m"))) == ["changed acme/greet"]
    prompt = Prompt.objects.get()
    assert (prompt.current, prompt.experiments.count()) == (3, 1)
    assert outcomes(run(TWO)) == ["unchanged acme/greet"]


@pytest.mark.django_db
def test_a_tenants_prompts_have_versions_and_a_test() -> None:
    """S2-20: an A/B test that the file names is started once."""
    assert outcomes(run(TWO)) == ["created acme/greet"]
    assert outcomes(run(TWO)) == ["unchanged acme/greet"]
    prompt = Prompt.objects.get()
    test = prompt.experiments.get()
    assert (prompt.current, test.control, float(test.control_percentage)) == (1, 1, 80)
    assert test.variants == [{"version": 2, "percentage": "20"}]
    assert prompt.versions.get(number=2).messages == [{"role": "system", "content": "two {{name}}"}]


@pytest.mark.django_db
def test_current_is_set_where_the_file_says_so() -> None:
    run(TWO.replace("experiment: {variant: 2, control_percentage: 80}", "current: 2"))
    assert Prompt.objects.get().current == 2


@pytest.mark.django_db
def test_while_a_test_runs_new_content_waits() -> None:
    run(TWO)
    report = run("prompts: [{name: greet, tenant: acme, text: three}]")
    assert "a test of acme/greet is running" in report.notes[0]
    assert (Prompt.objects.get().current, Prompt.objects.get().versions.count()) == (1, 3)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("name: p", "prompts[0]: a prompt has messages, text, or a list of versions"),
        ("name: p, text: x, messages: [{role: user, content: x}]", "prompts[0]: messages or text"),
        ("name: p, text: '{{#if}}'", "prompts[0].messages: messages[0]"),
        ("name: p, versions: [{text: x}, {messages: [{role: tool, content: x}]}]", "prompts[0].versions[1].messages"),
        ("name: p, text: x, params: {stream: true}", "prompts[0].params: 'stream' is not a parameter"),
        ("name: p, text: x, labels: {production: 2}", "prompts[0].labels.production.version: acme/p has no version 2"),
        ("name: p, text: x, labels: {latest: 1}", "prompts[0].labels.latest.name: 'latest' has a meaning of its own"),
        ("name: p, text: x, current: 7", "prompts[0].current: acme/p has no version 7"),
        ("name: p, text: x, experiment: {}", "prompts[0].experiment: variant, or variants"),
        ("name: p, text: x, experiment: {variant: 3}", "prompts[0].experiment.variants: acme/p has no version 3"),
        ("name: p@2, text: x", "prompts[0].name: Letters, digits"),
        ("name: p, text: x, tenant: nobody", "prompts[0].tenant: there is no tenant 'nobody'"),
        ("name: p, text: x, colour: red", "prompts[0].colour: no such setting"),
    ],
)
def test_a_wrong_prompt_is_refused_with_its_place(entry: str, said: str) -> None:
    tenant = "" if "tenant:" in entry else ", tenant: acme"
    assert said in problem(f"tenants: [{{slug: acme}}]\nprompts: [{{{entry}{tenant}}}]")


@pytest.mark.django_db
def test_a_prompt_stands_in_the_file_once() -> None:
    twice = "prompts: [{name: p, tenant: acme, text: x}, {name: p, tenant: acme, text: y}]"
    assert "'acme/p' stands here twice" in problem(twice)


@pytest.mark.django_db
def test_the_documented_example_applies() -> None:
    example = (Path(__file__).parents[2] / "docs/prompts.md").read_text().split("```yaml\n")[1].split("```")[0]
    assert outcomes(run(example)) == ["created acme/greet"]
    assert outcomes(run(example)) == ["unchanged acme/greet"]
    assert Prompt.objects.get().labels.get().version == 2
