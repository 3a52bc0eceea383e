"""S2-02: what evidence is, and what it leads to: loops are stopped soon, what only looks like one is not."""

import pytest

from llmobs.brake.signature import UNKNOWN, Signature, counts_on, head, signature
from llmobs.brake.track import Track, told, verdict
from llmobs.ops.demo.trace import read_trace
from llmobs.tenants.braking import DEFAULTS
from tests.bench.brake import conversations, dealt
from tests.brake import loops
from tests.brake.loops import USD
from tests.brake.sessions import Speaker, chat, in_order, replay

# How soon each loop is stopped: calls and USD at most.
SOON = {
    "S2-02: the recursion that burnt 12,000 USD in a day": (101, 8),
    "the same without a session": (740, 60),
    "a retry with a counter in its text": (101, 2.1),
    "two agents that send each other the same two prompts": (101, 2.1),
    "an agent that calls the same two tools, with growing context": (100, 2),
    "a context that grows without end, new texts each time": (220, 15),
    "two retries in one session, each with its counter and a long id": (110, 2.3),
    "a retry worded anew by the model each time": (130, 7),
}


@pytest.mark.parametrize(("name", "calls"), loops.runaways(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_loop_is_stopped_soon(name: str, calls: list) -> None:  # type: ignore[type-arg]
    seen = replay(calls[:1100])
    ((number, spent, _),) = seen.stopped.values()
    most_calls, most_usd = SOON[name]
    assert number <= most_calls
    assert spent <= most_usd * USD


@pytest.mark.parametrize(("name", "calls"), loops.harmless(), ids=lambda value: value if isinstance(value, str) else "")
def test_what_only_looks_like_a_loop_is_not_stopped(name: str, calls: list) -> None:  # type: ignore[type-arg]
    assert not replay(calls).stopped


@pytest.mark.parametrize("sessions", [None, 10, 0], ids=["conversations", "ten busy sessions", "one key"])
def test_no_session_of_the_real_trace_is_stopped(sessions: int | None) -> None:
    """The first 2,000 requests of each service; `python -m tests.bench.brake` plays all, also twenty times as fast."""
    for service in ("conv", "code"):
        rows, speaker = read_trace(service, 2000), Speaker(7)
        calls = conversations(rows, speaker, 20) if sessions is None else dealt(rows, speaker, 20, sessions)
        seen = replay(in_order(calls))
        assert seen.calls >= 2000
        assert not seen.stopped


def signed(text: str) -> Signature:
    return signature(chat(("system", "You help."), ("user", text)), True)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("Look for the missing file", "look  for the\tMISSING file", True),
        ("Look for the missing file", "Look for the missing house", False),
        ("Attempt 7 to find the missing file", "Attempt 8 to find the missing file", True),
        ("x" * 5000 + " one end", "x" * 5000 + " one end", True),
        ("word " * 400 + "left" + " word" * 400, "word " * 400 + "right" + " word" * 400, False),
    ],
)
def test_which_prompts_are_as_good_as_the_same(one: str, other: str, is_same: bool) -> None:
    first, second = signed(one), signed(other)
    assert (first.exact == second.exact or (second.words > 0 and not second.words & ~first.words)) == is_same


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("try 7 of 12 at 12:30:05 on 2026-11-21 (id 1763000000123, v2, a1b2c3)", (b"7", b"12")),
        ("pay 12.50 EUR, 7% of it, or 100.", (b"12.50", b"7", b"100")),
        ("nothing to count in these few words here", ()),
    ],
)
def test_which_figures_are_values(text: str, numbers: tuple[bytes, ...]) -> None:
    assert signed(f"please look at this figure: {text}").numbers == numbers


@pytest.mark.parametrize(
    ("before", "numbers", "does"),
    [((b"7",), (b"8",), True), ((b"7", b"5"), (b"7", b"5"), True),
     ((b"7",), (b"6",), False), ((b"7",), (b"90",), False),
     ((b"7",), (b"7", b"8"), False), ((), (), True)],
)  # fmt: skip
def test_a_counter_counts_on_and_other_figures_are_new(
    before: tuple[bytes, ...], numbers: tuple[bytes, ...], does: bool
) -> None:
    assert counts_on(before, numbers) == does


def test_what_stands_after_the_messages_is_no_part_of_the_prompt() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "role of " * 500, "parameters": {}}}]
    plain, with_tools = (signature(chat(("user", "Find it"), **more), True) for more in ({}, {"tools": tools}))
    assert plain.exact == with_tools.exact


def test_a_conversation_is_known_by_its_beginning() -> None:
    first = chat(("system", "You help."), ("user", "Find the report"))
    later = chat(("system", "You help."), ("user", "Find the report"), ("assistant", "Here"), ("user", "Thanks"))
    assert head(first) != head(chat(("system", "You help."), ("user", "Write a poem")))
    assert isinstance(head(later), int)


def test_a_body_of_another_form_says_nothing() -> None:
    assert signature(b'{"model": "x"}', True) == UNKNOWN


def test_words_tell_the_numbers() -> None:
    track = Track()
    body = chat(("user", "Find the missing file for me"))
    for number in range(12):
        track.called(signature(body, True), len(body), loops.BEGIN_S + number, DEFAULTS)
        track.now.cost_nanousd += USD // 10
    found = track.evidence(loops.BEGIN_S + 12, DEFAULTS, 1, 0)
    assert told(found) == "12 calls within 10 min, 11 of them with near-identical prompts, 1.20 USD"
    assert verdict(found, DEFAULTS, 1) == ""


def test_one_weak_sign_is_none() -> None:
    """Cost alone stops nothing, however much it is; that is a budget's matter."""
    track = Track()
    speaker = Speaker(5)
    for number in range(200):
        body = chat(("user", speaker.text(50 + number % 7)))
        track.called(signature(body, True), len(body), loops.BEGIN_S + number, DEFAULTS)
        track.now.cost_nanousd += USD
    assert verdict(track.evidence(loops.BEGIN_S + 200, DEFAULTS, 1, 0), DEFAULTS, 1) == ""


def test_what_was_seen_is_forgotten_after_two_windows() -> None:
    track = Track()
    body = chat(("user", "Find the missing file for me"))
    for number in range(200):
        track.called(signature(body, True), len(body), loops.BEGIN_S + number, DEFAULTS)
        track.now.cost_nanousd += USD
    assert verdict(track.evidence(loops.BEGIN_S + 200, DEFAULTS, 1, 0), DEFAULTS, 1) == "paused"
    track.roll(loops.BEGIN_S + 3 * DEFAULTS.window_seconds, DEFAULTS)
    assert track.evidence(loops.BEGIN_S + 3 * DEFAULTS.window_seconds, DEFAULTS, 1, 0).calls == 0
