"""A journal that takes nothing: calls are refused, or go on by policy (LLMOBS_UNRECORDED); what was let in ends."""

from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx2 as httpx
import pytest

from gateway import recorder as recorders
from gateway.counts import Counts
from gateway.plane import Plane
from gateway.recorder import ALLOW, REFUSE, Recorder, unrecorded_policy
from gateway.turn import Turn
from llmobs.core.env import EnvError
from llmobs.ingest.entries import End
from llmobs.ingest.journal import JournalBroken, JournalWriter
from llmobs.ingest.journal_reader import JournalReader
from tests.gateway.running import Gateway
from tests.gateway.world import World
from tests.ingest.making import begin, end

CHAT = "/v1/chat/completions"
GOOD = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 5}


@pytest.fixture
def plane(gateway: Gateway) -> Plane:
    assert gateway.plane is not None
    return gateway.plane


@pytest.fixture
def full(plane: Plane) -> Iterator[pytest.MonkeyPatch]:
    """The journal is at its bound, until it is undone."""
    with pytest.MonkeyPatch.context() as patch:
        journal = plane.recorder.journal
        patch.setattr(journal, "_most_bytes", 0)
        patch.setattr(journal, "_bound", 0)
        patch.setattr(journal, "_reports_bound", 0)
        yield patch
    plane.recorder.retry()


def test_by_default_a_call_that_cannot_be_recorded_is_refused(
    http: httpx.Client, gateway: Gateway, full: pytest.MonkeyPatch, secret: str
) -> None:
    answer = http.post(CHAT, json=GOOD)
    assert (answer.status_code, answer.headers["x-llmobs-reason"], answer.headers["retry-after"]) == (
        503, "journal_full", "1",
    )  # fmt: skip
    client = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)
    with pytest.raises(anthropic.InternalServerError) as told:
        client.messages.create(model="claude-sonnet-4-5", messages=[{"role": "user", "content": "x"}], max_tokens=5)
    assert (told.value.status_code, told.value.response.headers["retry-after"]) == (529, "1")
    assert gateway.entries() == []


def test_where_the_policy_allows_it_goes_on_and_is_counted(
    http: httpx.Client, gateway: Gateway, plane: Plane, full: pytest.MonkeyPatch
) -> None:
    full.setattr(plane.recorder, "allows_unrecorded", True)
    before = plane.counts.not_journalled["begin"]
    assert http.post(CHAT, json=GOOD).status_code == 200
    assert http.post(CHAT, json=GOOD | {"stream": True}).text.endswith("data: [DONE]\n\n")
    assert plane.counts.not_journalled["begin"] == before + 2
    assert http.get("/readyz").status_code == 200
    assert gateway.entries() == []


def test_under_a_budget_that_blocks_it_is_refused_whatever_the_policy(
    http: httpx.Client, world: World, budget: int, gateway: Gateway, plane: Plane, full: pytest.MonkeyPatch
) -> None:
    """What is spent must be known."""
    full.setattr(plane.recorder, "allows_unrecorded", True)
    gateway.wait_for_config(world.version())
    assert http.post(CHAT, json=GOOD).headers["x-llmobs-reason"] == "journal_full"
    gateway.wait_until(lambda: not world.ledger()["held"], "nothing is held")


def test_a_disk_that_takes_no_begin_is_the_same(
    http: httpx.Client, gateway: Gateway, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def takes_nothing(frames: bytes) -> None:
        raise JournalBroken("the disk is full")

    monkeypatch.setattr(plane.recorder, "allows_unrecorded", True)
    monkeypatch.setattr(plane.recorder.journal, "_write", takes_nothing)
    assert http.post(CHAT, json=GOOD).status_code == 200
    assert gateway.entries() == []


def test_a_gateway_that_nobody_calls_any_more_finds_out_that_there_is_room(
    http: httpx.Client, plane: Plane, full: pytest.MonkeyPatch
) -> None:
    """A balancer sends nothing to a gateway that is not ready: no call would tell it."""
    http.post(CHAT, json=GOOD)
    plane.recorder.retry()
    assert http.get("/readyz").status_code == 503
    full.undo()
    plane.recorder.retry()
    assert http.get("/readyz").status_code == 200


def test_the_policy_is_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unrecorded_policy() == REFUSE
    monkeypatch.setenv("LLMOBS_UNRECORDED", "allow")
    assert unrecorded_policy() == ALLOW
    monkeypatch.setenv("LLMOBS_UNRECORDED", "perhaps")
    with pytest.raises(EnvError, match="LLMOBS_UNRECORDED='perhaps'"):
        unrecorded_policy()


def test_ends_that_wait_for_the_disk_are_all_kept_the_first_with_their_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An End that is let go leaves its attempt open, and its journal's segments on the disk, until its owner ends."""
    monkeypatch.setattr(recorders, "MOST_WHOLE_ENDS", 2)
    journal = JournalWriter(tmp_path / "journal" / "gateway-1", bytes(32))
    recorder = Recorder(journal, Counts(), Turn())
    for _ in range(5):
        recorder._lost_end(end(begin()), JournalBroken("the disk is full"))
    recorder.retry()
    kept = list(recorder._late)
    assert (kept, recorder.is_writable) == ([], True)
    found = _ends(journal)
    assert [bool(each.response_body) for each in found] == [True, True, False, False, False]
    assert [each.is_truncated for each in found] == [False, False, True, True, True]
    journal.close()


def _ends(journal: JournalWriter) -> list[End]:
    return [each for _, each in JournalReader(journal.folder, bytes(32)).read(0).entries if isinstance(each, End)]
