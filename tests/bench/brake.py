"""The runaway brake on the real trace, on jobs that only look like loops, and on loops: `python -m tests.bench.brake`.

The bundled trace (llmobs/ops/demo/data/ATTRIBUTION.md) has arrival times and tokens of production requests, and neither
sessions nor texts. What is assumed, by the way:

1. Conversations: a request whose context continues an earlier one's (its context, answer and a new message of at most
   2,000 tokens, within ten minutes) belongs to that conversation; else it begins one. Texts are made by Zipf's law, the
   system prompt is the same for all, every message begins with one of five templates of sixty words, one user turn in
   twenty is said again, and one call in a hundred is repeated three times at once, as clients do on errors.
2. The same requests dealt to few sessions (each takes the next one in turn), so that sessions are as busy as the trace
   can make them; and all of them under one key without sessions.
3. Each is played at its own speed and twenty times as fast. Prices are those of a dear model: 5 and 25 USD per million.

Jobs: classification, polling, sampling, a coding agent. Loops: what must be stopped, after how many calls and USD.
"""

from collections import deque
from collections.abc import Callable, Iterator
from time import process_time

from llmobs.ops.demo.trace import Row, read_trace
from llmobs.tenants.attribution import Attribution
from tests.brake import loops
from tests.brake.sessions import WORDS_PER_TOKEN, Asked, Seen, Speaker, chat, in_order, replay

INPUT_NANOUSD, OUTPUT_NANOUSD = 5_000, 25_000  # of a token
SYSTEM = "You are a careful assistant of a large company. Answer shortly, and say so when you do not know. " * 8
PATIENCE_S, LONGEST_TURN_TOKENS = 600.0, 2000
REPEATED_ONE_IN, SAID_AGAIN_ONE_IN, REPEATS = 100, 20, 3
MOST_WORDS = 600  # of a message: more only makes the replay slower, the brake looks at its ends
FASTER = 20
MOST_FALSE_STOPS = 0.001


def cost(row: Row) -> int:
    return row.context_tokens * INPUT_NANOUSD + row.generated_tokens * OUTPUT_NANOUSD


def conversations(rows: list[Row], speaker: Speaker, speed: float) -> Iterator[Asked]:
    """Sessions by what continues what."""
    living: deque[tuple[float, int, str]] = deque()
    count = 0
    for row in rows:
        while living and row.at_s - living[0][0] > PATIENCE_S:
            living.popleft()
        found = next((each for each in living if 0 < row.context_tokens - each[1] <= LONGEST_TURN_TOKENS), None)
        if found is None:
            count += 1
            session = f"conversation-{count}"
        else:
            living.remove(found)
            session = found[2]
        living.append((row.at_s, row.context_tokens + row.generated_tokens, session))
        yield from said(row, Attribution(session_id=session, key_id=1), speaker, speed)


def dealt(rows: list[Row], speaker: Speaker, speed: float, sessions: int) -> Iterator[Asked]:
    """All requests over so few sessions; 0: no session, one key."""
    for number, row in enumerate(rows):
        session = f"busy-{number % sessions}" if sessions else ""
        yield from said(row, Attribution(session_id=session, key_id=1), speaker, speed)


TEMPLATES = [Speaker(seed).text(60) for seed in range(5)]
_last: dict[str, str] = {}


def said(row: Row, who: Attribution, speaker: Speaker, speed: float) -> Iterator[Asked]:
    """One request, with what is said again and what clients repeat."""
    draw = speaker.random.random
    text = speaker.text(min(MOST_WORDS, int(row.context_tokens * WORDS_PER_TOKEN)))
    text = f"{TEMPLATES[int(draw() * len(TEMPLATES))]} {text}"
    if draw() * SAID_AGAIN_ONE_IN < 1:
        text = _last.get(who.session_id, text)
    _last[who.session_id] = text
    body = chat(("system", SYSTEM), ("user", text), max_tokens=row.generated_tokens)
    times = 1 + (REPEATS if draw() * REPEATED_ONE_IN < 1 else 0)
    for again in range(times):
        yield Asked(row.at_s / speed + again * 0.5, who, body, cost(row))


def played(name: str, calls: list[Asked]) -> tuple[int, int]:
    seen = replay(calls)
    print(
        f"  {name:58} {len(seen.sessions):6} sessions {seen.calls:7} calls   stopped {len(seen.stopped):3} sessions "
        f"({len(seen.stopped) / len(seen.sessions):.4%}), {seen.refused:4} calls ({seen.refused / seen.calls:.4%});"
        f" slowed {len(seen.slowed_sessions)} sessions"
    )
    return len(seen.stopped), len(seen.sessions)


def trace() -> None:
    print("runaway brake, default marks, on the real trace (limit: 0.1 % false stops)")
    all_stopped = all_sessions = 0
    for service in ("conv", "code"):
        rows = read_trace(service)
        for speed in (1, FASTER):
            _last.clear()
            speaker = Speaker(7)
            ways: list[tuple[str, Callable[[], Iterator[Asked]]]] = [
                ("conversations", lambda: conversations(rows, speaker, speed)),  # noqa: B023 - called at once
                ("dealt to 100 sessions", lambda: dealt(rows, speaker, speed, 100)),  # noqa: B023
                ("dealt to 10 sessions", lambda: dealt(rows, speaker, speed, 10)),  # noqa: B023
                ("one key, no sessions", lambda: dealt(rows, speaker, speed, 0)),  # noqa: B023
            ]
            for name, make in ways:
                stopped, sessions = played(f"{service}, {speed}x, {name}", in_order(make()))
                all_stopped, all_sessions = all_stopped + stopped, all_sessions + sessions
    share = all_stopped / all_sessions
    print(f"  false stops: {all_stopped} of {all_sessions} sessions, {share:.4%} (limit {MOST_FALSE_STOPS:.1%})")


def jobs() -> None:
    print("what only looks like a loop")
    for name, calls in loops.harmless():
        played(name, calls)


def runaways() -> None:
    print("loops that must be stopped")
    for name, calls in loops.runaways():
        seen = replay(calls)
        print(f"  {name:58} {_stopped(seen, calls)}")


def _stopped(seen: Seen, calls: list[Asked]) -> str:
    if not seen.stopped:
        return "NOT STOPPED"
    number, spent, _ = next(iter(seen.stopped.values()))
    at_s = calls[number - 1].at_s - calls[0].at_s
    return f"after {number:4} calls, {spent / 1e9:7.2f} USD, {at_s:5.0f} s at the loop's own speed"


def costs() -> None:
    print("CPU of a call in the gateway's way")
    speaker = Speaker(3)
    for words in (50, 2_000, 40_000):
        body = chat(("system", SYSTEM), ("user", speaker.text(words)), max_tokens=64)
        calls = [Asked(1e9, Attribution(session_id="s", key_id=1), body, 0)] * 200
        begun = process_time()
        replay(calls)
        print(f"  a session's call of {len(body) / 1000:6.0f} kB: {(process_time() - begun) / 200 * 1e6:5.0f} µs")


def main() -> None:
    trace()
    jobs()
    runaways()
    costs()


if __name__ == "__main__":
    main()
