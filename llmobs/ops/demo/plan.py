"""What the demo asks, call by call: the trace's requests given tenants, features, users and sessions.

1. The conversation trace is tenant atlas, features support and search by turns; the code trace is tenant forge.
2. Tenant trial repeats the first conversation requests, spread over the whole run, against a budget of half their cost.
3. Calls come in the trace's order, its hour compressed to `seconds`; one in ten streams.
4. Two in fifty of atlas and forge come from a client of the other format; two in forty of forge ask for a route whose
   first provider is down. One of the two streams.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from llmobs.ops.demo.trace import Row

ATLAS, FORGE, TRIAL, WORKSHOP, JUDGES = "atlas", "forge", "trial", "workshop", "judges"
CONVERSATION_MODEL, CODE_MODEL = "gpt-4o-mini", "claude-sonnet-4-5"
CONVERSATION_FEATURES = ("support", "search")
CODE_FEATURE = "code-completion"
CONVERSATION_USERS, CODE_USERS, TRIAL_USERS = 200, 50, 5
TRIAL_REQUESTS = 500
CODE_ROUTE = "coder"
STREAM_EVERY = 10
CROSS_EVERY, CROSS_TURNS = 50, (3, 29)
ROUTE_EVERY, ROUTE_TURNS = 40, (5, 19)
MOST_CALLS_OF_SESSION = 8


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send. `due_s`: seconds after the run's begin. `wants_usage`: of an OpenAI stream.

    `dialect` is the client's; `route` is asked for, where it is, in the place of the model that answers.
    """

    number: int
    tenant: str
    dialect: Literal["openai", "anthropic"]
    model: str
    feature: str
    user: str
    session: str
    input_tokens: int
    output_tokens: int
    is_stream: bool
    wants_usage: bool
    due_s: float
    route: str = ""


def plan(
    conversation: Sequence[Row], code: Sequence[Row], seconds: float, run: str, trial: int = TRIAL_REQUESTS
) -> list[Call]:
    """All calls in the order of sending. `run` makes the sessions of this run its own."""
    begin = min((rows[0].at_s for rows in (conversation, code) if rows), default=0.0)
    span = max((rows[-1].at_s for rows in (conversation, code) if rows), default=0.0) - begin
    pace = seconds / span if span > 0 else 0.0
    dealer = _Dealer(run)
    due: list[tuple[float, str, Row, int]] = []
    due += [((row.at_s - begin) * pace, ATLAS, row, turn) for turn, row in enumerate(conversation)]
    due += [((row.at_s - begin) * pace, FORGE, row, turn) for turn, row in enumerate(code)]
    repeated = conversation[:trial]
    due += [(turn * seconds / len(repeated), TRIAL, row, turn) for turn, row in enumerate(repeated)]
    due.sort(key=lambda one: one[0])
    return [dealer.call(number, *one) for number, one in enumerate(due)]


class _Dealer:
    """Deals users and sessions out: a few users ask much, and a session is some calls of one user in a row."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._random = Random(run)  # noqa: S311 - who asks, not a secret
        self._sessions: dict[tuple[str, str, str], tuple[int, int]] = {}

    def call(self, number: int, due_s: float, tenant: str, row: Row, turn: int) -> Call:
        is_code = tenant == FORGE
        feature = CODE_FEATURE if is_code else CONVERSATION_FEATURES[turn % len(CONVERSATION_FEATURES)]
        user = self._user(tenant)
        is_stream = turn % STREAM_EVERY == STREAM_EVERY - 1
        is_cross = tenant != TRIAL and turn % CROSS_EVERY in CROSS_TURNS
        return Call(
            number=number,
            tenant=tenant,
            dialect="anthropic" if is_code != is_cross else "openai",
            model=CODE_MODEL if is_code else CONVERSATION_MODEL,
            feature=feature,
            user=user,
            session=self._session(tenant, user, feature),
            input_tokens=row.context_tokens,
            output_tokens=row.generated_tokens,
            is_stream=is_stream,
            # Of the streams every other one asks for its usage: of the rest the gateway must learn it by itself.
            wants_usage=is_stream and (turn // STREAM_EVERY) % 2 == 0,
            due_s=due_s,
            route=CODE_ROUTE if is_code and turn % ROUTE_EVERY in ROUTE_TURNS else "",
        )

    def _user(self, tenant: str) -> str:
        users = {ATLAS: CONVERSATION_USERS, FORGE: CODE_USERS}.get(tenant, TRIAL_USERS)
        return f"{tenant}-user-{1 + int(users * self._random.random() ** 2):03d}"

    def _session(self, tenant: str, user: str, feature: str) -> str:
        session, calls = self._sessions.get((tenant, user, feature), (1, 0))
        if calls >= MOST_CALLS_OF_SESSION or (calls and self._random.random() < 0.2):
            session, calls = session + 1, 0
        self._sessions[tenant, user, feature] = session, calls + 1
        return f"{feature}-{self._run}-{user}-{session}"
