"""Loops that burnt money, and work that only looks like one: each as the calls that it makes."""

import json
from collections.abc import Iterator

from llmobs.tenants.attribution import Attribution
from tests.brake.sessions import Asked, Speaker, chat

BEGIN_S = 1_763_000_000.0
USD = 1_000_000_000
SESSION = Attribution(session_id="run-1", key_id=1)
KEY = Attribution(key_id=1)

Case = tuple[str, list[Asked]]


def runaways() -> list[Case]:
    return [
        ("S2-02: the recursion that burnt 12,000 USD in a day", list(recursion(SESSION))),
        ("the same without a session", list(recursion(KEY))),
        ("a retry with a counter in its text", list(counter())),
        ("two agents that send each other the same two prompts", list(ping_pong())),
        ("an agent that calls the same two tools, with growing context", list(tool_ping_pong())),
        ("a context that grows without end, new texts each time", list(growth())),
        ("two retries in one session, each with its counter and a long id", list(counters())),
        ("a retry worded anew by the model each time", list(reworded())),
    ]


def harmless() -> list[Case]:
    return [
        ("10,000 short texts classified under one key, 10/s", list(classification(KEY))),
        ("the same in one session", list(classification(SESSION))),
        ("20 labels for a session's words, again and again, 4 h", list(words())),
        ("a health check each minute for a day, one session", list(polling(60.0, 1440))),
        ("a status asked for each 5 s for an hour, cheap", list(polling(5.0, 720, USD // 2000))),
        ("64 samples of each of 40 questions in one session", list(sampling())),
        ("a coding agent: 300 calls in an hour, 10 k to 200 k tokens", list(coding_agent(300, 12.0))),
        ("the same at 4 s a call, with 8 subagents in its session", list(coding_agent(600, 4.0, agents=8))),
        ("2,000 people who begin with the same greeting, one key", list(greetings())),
        ("numbers asked about, 5,000 of them, under one key", list(numbers())),
        ("5,000 account numbers checked in one session, 3/s", list(accounts())),
        ("1,500 invoices whose texts differ in their figures alone, one session", list(invoices())),
        ("a table's rows of twenty measured values each, one session", list(measurements())),
    ]


def recursion(who: Attribution, calls: int = 3_000) -> Iterator[Asked]:
    """12,000 USD in a day at eight cents a call: 1.7 calls a second, each with the same prompt."""
    body = chat(
        ("system", "You plan."), ("user", "Break the task into steps and solve each step by asking yourself again.")
    )
    for number in range(calls):
        yield Asked(BEGIN_S + number * 0.58, who, body, 8 * USD // 100)


def counter() -> Iterator[Asked]:
    for number in range(2000):
        clock = f"12:{number // 60 % 60:02}:{number % 60:02}"
        text = f"Attempt {number} at {clock}: the file is not there, look for it once more."
        yield Asked(BEGIN_S + number * 2.0, SESSION, chat(("user", text)), USD // 50)


def counters() -> Iterator[Asked]:
    """Ids and times of day differ each time, and two agents count each by itself."""
    speaker = Speaker(14)
    for number in range(2000):
        request, at = speaker.random.randint(10**11, 10**12), f"{number // 60 % 24:02}:{number % 60:02}:30"
        attempt = number // 2 + number % 2 * 500
        text = f"Request {request}, attempt {attempt} at {at}: it timed out again, please try the call once more."
        yield Asked(BEGIN_S + number * 2.0, SESSION, chat(("user", text)), USD // 50)


def ping_pong() -> Iterator[Asked]:
    sides = [
        chat(("system", "You are the buyer."), ("user", "I agree with you. Please confirm, then we are done.")),
        chat(("system", "You are the seller."), ("user", "Confirmed from my side. Please confirm that you saw this.")),
    ]
    for number in range(2000):
        yield Asked(BEGIN_S + number * 1.5, SESSION, sides[number % 2], USD // 50)


def tool_ping_pong() -> Iterator[Asked]:
    """Results carry a time of day and words of their own; the calls and arguments are the same two."""
    speaker = Speaker(11)
    turns: list[dict[str, object]] = [{"role": "user", "content": "Find the order and tell its state."}]
    for number in range(400):
        name = ("search_orders", "open_order")[number % 2]
        call = {"id": f"call_{number:024}", "type": "function", "function": {"name": name, "arguments": '{"id": 17}'}}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": call["id"], "content": f"{speaker.text(30)} 12:{number % 60}"})
        body = json.dumps({"model": "gpt-4o", "messages": turns}).encode()
        yield Asked(BEGIN_S + number * 3.0, SESSION, body, (len(body) // 4) * 2_500)


def growth() -> Iterator[Asked]:
    """All that was said is sent again each time, and grows by a page."""
    speaker, said = Speaker(12), [("user", "Write the book.")]
    for number in range(600):
        said.append(("user", speaker.text(120)))
        body = chat(*said)
        yield Asked(BEGIN_S + number * 1.5, SESSION, body, (len(body) // 4) * 2_500)


def reworded() -> Iterator[Asked]:
    """The model excuses itself in other words each time, out of the few that it has for that."""
    speaker = Speaker(13, vocabulary=60)
    for number in range(3000):
        yield Asked(BEGIN_S + number * 1.0, SESSION, chat(("user", speaker.text(40))), USD // 20)


def classification(who: Attribution) -> Iterator[Asked]:
    """A long template, a short text: a tenth of a cent each, so ten a second pass every cost mark."""
    speaker = Speaker(21)
    template = "Say whether this review is good, bad or neither, in one word, and nothing else at all. The review: "
    for number in range(10_000):
        body = chat(
            ("system", "You classify reviews."), ("user", template + speaker.text(speaker.random.randint(4, 25)))
        )
        yield Asked(BEGIN_S + number * 0.1, who, body, USD // 1000)


def words() -> Iterator[Asked]:
    """The same few hundred words come again and again over hours, at a cent each."""
    speaker = Speaker(22, vocabulary=300)
    for number in range(4 * 3600 // 20):
        yield Asked(BEGIN_S + number * 20.0, SESSION, chat(("user", f"Label this word: {speaker.text(3)}")), USD // 100)


def polling(every_s: float, calls: int, cost: int = USD // 20) -> Iterator[Asked]:
    for number in range(calls):
        yield Asked(BEGIN_S + number * every_s, SESSION, chat(("user", "Answer with the word ready, please.")), cost)


def sampling() -> Iterator[Asked]:
    speaker = Speaker(23)
    for question in range(40):
        body = chat(("user", f"Solve this and think step by step: {speaker.text(60)}"))
        for sample in range(64):
            yield Asked(BEGIN_S + question * 60 + sample * 0.5, SESSION, body, USD // 100)


def coding_agent(calls: int, every_s: float, agents: int = 1) -> Iterator[Asked]:
    """Its context grows with each call; tools differ but for a test run that comes again and again."""
    speaker = Speaker(24)
    turns: list[list[dict[str, object]]] = [[{"role": "user", "content": speaker.text(7000)}] for _ in range(agents)]
    for number in range(calls):
        told = turns[number % agents]
        arguments = '{"command": "make test"}' if number % 5 == 0 else json.dumps({"path": speaker.text(3)})
        call = {"id": f"call_{number:024}", "type": "function", "function": {"name": "run", "arguments": arguments}}
        told.append({"role": "assistant", "content": speaker.text(20), "tool_calls": [call]})
        told.append({"role": "tool", "tool_call_id": call["id"], "content": speaker.text(400)})
        body = json.dumps({"model": "gpt-4o", "messages": told}).encode()
        yield Asked(BEGIN_S + number * every_s, SESSION, body, (len(body) // 4) * 500)  # most of it from the cache


def greetings() -> Iterator[Asked]:
    for number in range(2000):
        yield Asked(BEGIN_S + number * 1.0, KEY, chat(("system", "You help."), ("user", "Hello")), USD // 1000)


def numbers() -> Iterator[Asked]:
    for number in range(5000):
        yield Asked(BEGIN_S + number * 0.2, KEY, chat(("user", f"Is {number} a prime number? Yes or no.")), USD // 200)


def accounts() -> Iterator[Asked]:
    """A batch job in one session: the same question about each record, a cent each."""
    speaker = Speaker(26)
    for number in range(5000):
        text = f"Is the account {speaker.random.randint(10_000, 99_999_999)} a test account of ours? Say yes or no."
        yield Asked(BEGIN_S + number * 0.33, SESSION, chat(("user", text)), USD // 100)


def invoices() -> Iterator[Asked]:
    speaker = Speaker(27)
    for number in range(1500):
        net, share = speaker.random.randint(100, 90_000) / 100, speaker.random.choice([7, 19])
        text = f"Invoice {number} has a net sum of {net} EUR and {share} % tax: what is the gross sum of this invoice?"
        yield Asked(BEGIN_S + number * 1.0, SESSION, chat(("user", text)), USD // 50)


def measurements() -> Iterator[Asked]:
    speaker = Speaker(28)
    for number in range(1500):
        values = ", ".join(str(speaker.random.randint(0, 400) / 10) for _ in range(20))
        text = f"Row {number} of the sensors, one value an hour: {values}. Is any of them out of line? Answer shortly."
        yield Asked(BEGIN_S + number * 1.0, SESSION, chat(("user", text)), USD // 50)
