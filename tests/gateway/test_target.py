"""A provider made ready: heads by operation and credential, credentials in turn, one put aside."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from gateway import target as targets
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.count_tokens import CountTokens
from gateway.dialects.embeddings import Embeddings
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses
from gateway.target import Target, files_of, ready
from gateway.upstream import Upstream
from llmobs.providers.credentials import seal
from llmobs.providers.registry import OPERATIONS, CredentialInfo, ProviderInfo

FERNET = (Fernet.generate_key().decode(),)


def target(base_url: str = "https://api.test/v1", dialect: str = "openai", **fields: Any) -> Target:
    credentials = [
        CredentialInfo(seal(secret, FERNET), weight) for secret, weight in fields.pop("secrets", [("sk", 1)])
    ]
    provider = ProviderInfo(1, "p", dialect, base_url, "", fields.pop("headers", {}), "p", tuple(credentials), **fields)
    return ready(provider, Upstream(), FERNET)


def lines(target: Target, operation: str, model: str = "m", credential: int = 0) -> list[str]:
    return target.request_lines(operation, credential, model).decode().removesuffix("\r\n").split("\r\n")


def test_operations_have_the_paths_of_their_dialects() -> None:
    dialects = (OpenAI(), Responses(), Embeddings(), Anthropic(), CountTokens())
    assert {dialect.serves: dialect.operation_path.decode() for dialect in dialects} == OPERATIONS


@pytest.mark.parametrize(
    ("base_url", "operation", "line"),
    [
        ("https://api.test/v1", "chat", "POST /v1/chat/completions HTTP/1.1"),
        ("https://api.test/v1", "embeddings", "POST /v1/embeddings HTTP/1.1"),
        ("https://api.test/v1", "responses", "POST /v1/responses HTTP/1.1"),
        ("https://api.test", "messages", "POST /v1/messages HTTP/1.1"),
        ("https://api.test/v1", "messages", "POST /v1/messages HTTP/1.1"),
        ("https://api.test/anthropic", "count_tokens", "POST /anthropic/v1/messages/count_tokens HTTP/1.1"),
    ],
)
def test_each_operation_has_its_path_below_the_base_url(base_url: str, operation: str, line: str) -> None:
    assert lines(target(base_url), operation)[:2] == [line, "host: api.test"]


def test_azures_deployments_are_paths_with_the_models_name() -> None:
    """S0-05: a provider with paths of its own is one more entry; applications do not know."""
    azure = target(
        "https://acme.openai.azure.test",
        auth="api-key",
        query={"api-version": "2024-10-21"},
        paths={"chat": "/openai/deployments/{model}/chat/completions"},
    )
    head = lines(azure, "chat", "gpt-4o")
    assert head[0] == "POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21 HTTP/1.1"
    assert "api-key: sk" in head
    assert lines(azure, "chat", "gpt-4o-mini")[0].startswith("POST /openai/deployments/gpt-4o-mini/")


@pytest.mark.parametrize("model", ["../../admin", "..", ".", "a/b?c#d", "a b\r\nx: y", "é%2F"])
def test_a_models_name_stays_one_segment_of_the_path(model: str) -> None:
    provider = target(paths={"chat": "/d/{model}/chat"})
    path = lines(provider, "chat", model)[0].removeprefix("POST ").removesuffix(" HTTP/1.1")
    segment = path.removeprefix("/v1/d/").removesuffix("/chat")
    assert not set("/?# \r\n") & set(segment)
    assert segment.replace("%2E", ".").strip(".")


@pytest.mark.parametrize(
    ("auth", "line"),
    [("bearer", "authorization: Bearer sk"), ("x-api-key", "x-api-key: sk"), ("api-key", "api-key: sk"), ("none", "")],
)
def test_a_credential_is_sent_as_the_provider_takes_it(auth: str, line: str) -> None:
    head = lines(target(auth=auth), "chat")
    assert (line in head) if line else ("sk" not in str(head))


def test_by_default_each_dialect_sends_its_own() -> None:
    assert "authorization: Bearer sk" in lines(target(), "chat")
    assert "x-api-key: sk" in lines(target(dialect="anthropic"), "messages")


def test_credentials_take_turns_by_weight() -> None:
    """S0-02: several credentials of one provider share its calls by weight, without chance."""
    provider = target(secrets=[("a", 3), ("b", 1)])
    assert [provider.credential() for _ in range(8)] == [0, 0, 1, 0, 0, 0, 1, 0]
    assert Counter(provider.credential() for _ in range(400)) == {0: 300, 1: 100}
    assert "authorization: Bearer b" in lines(provider, "chat", credential=1)


def test_a_refused_credential_is_left_alone_while_another_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("gateway.target.time.monotonic", lambda: now[0])
    provider = target(secrets=[("a", 3), ("b", 1)])
    assert provider.aside(0, 30.0)
    assert {provider.credential() for _ in range(10)} == {1}
    assert not provider.aside(1, 60.0)
    assert provider.credential() == 0  # all were refused: the one that is back first
    now[0] = 131.0
    assert {provider.credential() for _ in range(10)} == {0}
    now[0] = 161.0
    assert {provider.credential() for _ in range(10)} == {0, 1}


def test_an_only_credential_is_never_put_aside() -> None:
    provider = target()
    assert not provider.aside(0, 30.0)
    assert provider.credential() == 0


def test_a_credential_that_cannot_be_had_leaves_the_others_their_turns(caplog: pytest.LogCaptureFixture) -> None:
    info = ProviderInfo(
        1, "p", "openai", "http://h.test/v1", "", {}, "p",
        (CredentialInfo("env:NOT_SET_ANYWHERE"), CredentialInfo(seal("sk-b", FERNET))),
    )  # fmt: skip
    provider = ready(info, Upstream(), FERNET)
    assert provider.error == ""
    assert "authorization: Bearer sk-b" in lines(provider, "chat", credential=provider.credential())
    assert "NOT_SET_ANYWHERE is not set" in caplog.text


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"secrets": [("a\r\nx: y", 1)]}, "characters that no HTTP header can"),
        ({"headers": {"x": "é"}}, "characters that no HTTP header can"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_called_says_why_and_breaks_nothing(fields: dict[str, Any], error: str) -> None:
    assert error in target(**fields).error


def test_certificates_that_are_none_say_so(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    assert target(ca_file=str(file)).error == f"ca_file {file} holds no certificate"


def test_its_heads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MOST_HEADS", 10)
    provider = target(paths={"chat": "/d/{model}/chat"})
    for number in range(50):
        provider.request_lines("chat", 0, f"m{number}")
    assert len(provider._heads) <= 10


def test_files_with_credentials_and_certificates_are_watched(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    info = ProviderInfo(1, "p", "openai", "http://h/v1", f"file:{file}", {}, "p", ca_file="/nowhere/ca.pem")
    before = files_of([info])
    assert before["/nowhere/ca.pem"] is None
    file.write_text("another")
    assert files_of([info]) != before
