"""Credentials change while the gateway runs: files are read again, rows followed, and no call is lost."""

from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.gateway.far_end import answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.world import World

CHAT = "/v1/chat/completions"
ANSWER = json_response(
    b'{"id": "r-1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", '
    b'"message": {"role": "assistant", "content": "hi"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}',
    b"connection: close\r\n",
)


def ask(http: httpx.Client, model: str = "rotating/m") -> int:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    return http.post(CHAT, json=body).status_code


def sent(request: bytes) -> bytes:
    """The credential that a request carried."""
    return next(line for line in request.split(b"\r\n") if line.startswith(b"authorization: "))


def test_a_credentials_file_is_read_again_when_it_changes(
    gateway: Gateway, http: httpx.Client, world: World, tmp_path: Path
) -> None:
    """S0-47: whatever rotates the file (a secrets manager's agent), the next call has the new credential."""
    file = tmp_path / "credential"
    file.write_text("sk-old\n")
    with answering(ANSWER) as far_end:
        world.provider("rotating", "openai", f"{far_end.url}/v1", credential=f"file:{file}")
        gateway.wait_for_config(world.version())
        assert ask(http) == 200
        assert sent(far_end.requests[-1]) == b"authorization: Bearer sk-old"

        renewed = tmp_path / "renewed"
        renewed.write_text("sk-new\n")
        renewed.replace(file)

        def has_it() -> bool:
            assert ask(http) == 200
            return sent(far_end.requests[-1]) == b"authorization: Bearer sk-new"

        gateway.wait_until(has_it, "the new credential")


def test_a_credential_set_anew_in_the_table_is_used_without_a_restart(
    gateway: Gateway, http: httpx.Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-02: one place to rotate: the provider's row."""
    monkeypatch.setenv("ROTATED_TO", "sk-new")
    with answering(ANSWER) as far_end:
        provider = world.provider("rotating", "openai", f"{far_end.url}/v1", headers='{"x-account": "old"}')
        gateway.wait_for_config(world.version())
        assert ask(http) == 200
        world.pg.execute("UPDATE providers_provider SET credential = 'env:ROTATED_TO' WHERE id = %s", (provider,))
        gateway.wait_for_config(world.version())
        assert ask(http) == 200
        assert sent(far_end.requests[-1]) == b"authorization: Bearer sk-new"


def test_several_credentials_share_the_calls(
    gateway: Gateway, http: httpx.Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", "sk-a")
    monkeypatch.setenv("KEY_B", "sk-b")
    several = '[{"credential": "env:KEY_A", "weight": 2}, {"credential": "env:KEY_B", "weight": 1}]'
    with answering(ANSWER) as far_end:
        world.provider("rotating", "openai", f"{far_end.url}/v1", credentials=several)
        gateway.wait_for_config(world.version())
        assert [ask(http) for _ in range(6)] == [200] * 6
        used = [sent(request) for request in far_end.requests]
    assert used.count(b"authorization: Bearer sk-a") == 4
    assert used.count(b"authorization: Bearer sk-b") == 2


def test_the_callers_own_key_never_reaches_the_provider(
    gateway: Gateway, http: httpx.Client, world: World, secret: str
) -> None:
    """S0-08: callers have keys of ours, the provider sees the gateway's credential alone."""
    with answering(ANSWER) as far_end:
        world.provider("rotating", "openai", f"{far_end.url}/v1")
        gateway.wait_for_config(world.version())
        assert ask(http) == 200
    assert secret.encode() not in far_end.requests[0]
    assert b"authorization" not in far_end.requests[0].lower()


def test_a_deployments_path_is_asked_with_its_query(gateway: Gateway, http: httpx.Client, world: World) -> None:
    """S3-36: the application names a route; address, version and credential of the deployment are the gateway's."""
    with answering(ANSWER) as far_end:
        provider = world.provider(
            "azure", "openai", far_end.url,
            paths='{"chat": "/openai/deployments/{model}/chat/completions"}', query='{"api-version": "2024-10-21"}',
        )  # fmt: skip
        world.route("assistant", (provider, "gpt-4o-eu"))
        gateway.wait_for_config(world.version())
        assert ask(http, "assistant") == 200
    assert far_end.requests[0].startswith(
        b"POST /openai/deployments/gpt-4o-eu/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n"
    )
