"""Rates and quotas of a call, from what it asks to what it used.

1. `cap`: a request that is too large by itself is refused; one without an output ceiling gets the cap as its ceiling.
2. `asking`: the limits that apply and the amount of each: a request, the tokens it may need, a place among those at
   once. None for a call to which no limit applies: that is all it costs.
3. The section is asked in the call's admission script (`Asking.words`); then `granted`, or `refused`. With Valkey away
   `taken_locally` takes of this gateway's share.
4. `settle`: tokens held by estimate become what was used, the place is given back; where nothing was sent, all of it.
"""

import time
from collections.abc import Sequence
from typing import Any

from gateway import over_limit
from gateway.call import Attempt, Call
from gateway.dialects.dialect import Asked
from gateway.errors import Refusal
from gateway.estimate import Estimates, text_bytes
from gateway.share import Share
from gateway.snapshot import Snapshot
from llmobs.budgets.ledger import Command
from llmobs.budgets.scripts import Script
from llmobs.limits import admission, scripts
from llmobs.limits.admission import Taken, Words
from llmobs.limits.definition import NO_CAPS, AppliedLimit
from llmobs.limits.units import CONCURRENT, TOKENS
from llmobs.providers.registry import CandidateInfo

SETTLE = Script("limits settle", scripts.SETTLE)
RENEW = Script("limits renew", scripts.RENEW)

RENEW_SECONDS = 20  # a third of a lease: two renewals may be lost
CHATS = frozenset({"chat", "responses", "messages"})  # what caps are for


class Asking:
    """What one call asks of the limits, and what it got."""

    __slots__ = ("applying", "asked", "is_local", "member", "taken", "text_bytes")

    def __init__(
        self, applying: tuple[AppliedLimit, ...], asked: list[tuple[AppliedLimit, int]], member: str, text_bytes: int
    ) -> None:
        self.applying = applying
        self.asked = asked
        self.member = member
        self.text_bytes = text_bytes  # of the request; 0: nothing is learned from it
        self.taken: Taken | None = None
        self.is_local = False

    def words(self) -> Words:
        """Keys and arguments of the section in the admission script."""
        return admission.ask(self.asked, self.member)


class Rates:
    """Limits of this process's calls. All on one event loop."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.estimates = Estimates()
        self.gateways = 1  # how many share the limits while Valkey is away
        self._share = Share()
        self._under_way: dict[str, set[str]] = {}  # of limits on calls at once: key -> members
        self._renewed = 0.0, 0  # when, and how many connections to Valkey had been lost by then

    def cap(self, call: Call, snapshot: Snapshot) -> None:
        """Refuse a request beyond its caps; give one without an output ceiling the cap. Raises Refusal."""
        assert call.tenant is not None
        assert call.asked is not None
        candidate, door = _first(call), call.door
        provider, model = candidate.provider.name, candidate.model
        caps = snapshot.limits.caps(call.tenant.id, call.attribution, model, provider, door.ip)
        if caps is NO_CAPS or call.dialect.serves not in CHATS:
            return
        if caps.input_tokens is not None:
            seen, unseen = text_bytes(call.body, call.asked)
            tokens = self.estimates.expected_input(provider, model, seen) + unseen
            if tokens > caps.input_tokens:
                raise over_limit.cap_refusal("input", tokens, caps.input_tokens)
        if caps.output_tokens is not None:
            _cap_output(call, call.asked, caps.output_tokens)

    def asking(self, call: Call, snapshot: Snapshot) -> Asking | None:
        """What the call asks; None: no limit applies to it."""
        assert call.tenant is not None
        candidate, door = call.candidates[0], call.door
        provider, model = candidate.provider.name, candidate.model
        applying = snapshot.limits.applying(call.tenant.id, call.attribution, model, provider, door.ip)
        if not applying:
            return None
        tokens, learnable, member = -1, 0, ""
        asked = []
        for applied in applying:
            unit, amount = applied.limit.unit, 1
            if unit == TOKENS:
                if tokens < 0:
                    tokens, learnable = self._tokens(call, provider, model)
                amount = tokens
            elif unit == CONCURRENT:
                member = f"{self._owner}:{call.span_id.hex()}"
            asked.append((applied, amount))
        return Asking(applying, asked, member, learnable)

    def _tokens(self, call: Call, provider: str, model: str) -> tuple[int, int]:
        """Tokens that the call may need, and the bytes from which to learn."""
        asked = call.asked
        assert asked is not None
        if asked.is_free:
            return 0, 0
        seen, unseen = text_bytes(call.body, asked)
        output = self.estimates.estimate_output(provider, model, asked.most_output_tokens) * asked.choices
        return self.estimates.estimate_input(provider, model, seen) + unseen + output, 0 if unseen else seen

    def granted(self, call: Call, asking: Asking, ahead: Sequence[Any], position: int) -> int:
        """All was taken; where in the admission's reply the next section's part begins."""
        taken, end = admission.parse_taken(ahead, position, len(asking.asked))
        self._took(call, asking, taken)
        return end

    def refused(self, call: Call, asking: Asking, reply: Sequence[Any]) -> Refusal:
        """A limit would be passed; nothing was taken."""
        return self._refusal(call, asking, admission.parse_exceeded(reply))

    def take_locally(self, call: Call, asking: Asking) -> None:
        """Valkey is away: take of this gateway's share. Raises Refusal."""
        at_once = [len(self._under_way.get(applied.key, ())) for applied, _ in asking.asked]
        outcome = self._share.take(asking.asked, at_once, self.gateways, int(time.time()))
        if not isinstance(outcome, Taken):
            raise self._refusal(call, asking, outcome)
        asking.is_local = True
        self._took(call, asking, outcome)

    def _took(self, call: Call, asking: Asking, taken: Taken) -> None:
        asking.taken = taken
        call.own_headers += over_limit.headers(asking.asked, taken)
        for applied, _ in asking.asked:
            if applied.limit.unit == CONCURRENT:
                self._under_way.setdefault(applied.key, set()).add(asking.member)

    def _refusal(self, call: Call, asking: Asking, exceeded: admission.Exceeded) -> Refusal:
        applied, amount = asking.asked[exceeded.index]
        call.own_headers += over_limit.exceeded_headers(applied, exceeded)
        return over_limit.refusal(applied, amount, exceeded)

    def settle(self, call: Call, asking: Asking) -> Command | None:
        """The call has ended: what to send, if anything is to be changed. Sent once, its reply is nobody's matter."""
        taken = asking.taken
        if taken is None:
            return None
        changes = [
            (applied, change) for (applied, _), change in zip(asking.asked, self.used(call, asking), strict=True)
        ]
        if asking.is_local:
            self._share.settle(taken.at_s, changes)
            # What Valkey has of it are places: it was told of those under way when it was back.
            changes = [(applied, 0) for applied, _ in asking.asked if applied.limit.unit == CONCURRENT]
        keys, args = admission.settle(taken.at_s, changes, asking.member)
        return Command(SETTLE, keys, args) if keys else None

    def used(self, call: Call, asking: Asking) -> list[int]:
        """How much more (or less) than taken the call has used, of each limit. Asked once, when it has ended."""
        asking.taken = None
        self._learn(call, asking)
        changes = [_used(call, applied, amount) - amount for applied, amount in asking.asked]
        self._left(asking)
        return changes

    def _left(self, asking: Asking) -> None:
        for applied, _ in asking.asked:
            if applied.limit.unit == CONCURRENT:
                members = self._under_way.get(applied.key)
                if members is not None:
                    members.discard(asking.member)
                    if not members:
                        del self._under_way[applied.key]

    def tick(self, now_s: float, is_connected: bool, losses: int, gateways: int) -> list[Command]:
        """What to send now and then: leases of calls under way, and at once where Valkey may have lost them."""
        self.gateways = gateways
        renewed_at_s, renewed_after = self._renewed
        if not is_connected or (now_s - renewed_at_s < RENEW_SECONDS and losses == renewed_after):
            return []
        self._renewed = now_s, losses
        if losses != renewed_after:
            self._share.forget()  # Valkey's windows hold again
        return [Command(RENEW, *admission.renew(key, members)) for key, members in self._under_way.items()]

    def _learn(self, call: Call, asking: Asking) -> None:
        attempt, asked = call.attempt, call.asked
        if attempt is None or asked is None or not asking.text_bytes or not _is_reported(attempt):
            return
        usage, candidate = attempt.outcome.usage, attempt.candidate
        assert usage is not None
        self.estimates.learn(candidate.provider.name, candidate.model, asking.text_bytes, usage.input_tokens)
        if asked.most_output_tokens is None and asked.choices:
            output = usage.output // asked.choices
            self.estimates.learn_output(candidate.provider.name, candidate.model, output)


def _first(call: Call) -> CandidateInfo:
    """Whose model counts: the first that may be asked, else the first that the route lists."""
    if call.candidates:
        return call.candidates[0]
    assert call.route is not None
    return call.route.candidates[0]


def _cap_output(call: Call, asked: Asked, cap: int) -> None:
    if asked.most_output_tokens is None:
        call.rewrite(call.dialect.capped(call.body, cap // max(asked.choices, 1), asked))
    elif asked.most_output_tokens * asked.choices > cap:
        raise over_limit.cap_refusal("output", asked.most_output_tokens * asked.choices, cap)


def _used(call: Call, applied: AppliedLimit, amount: int) -> int:
    """What the call used of a limit. Nothing was sent: nothing."""
    if not call.attempts:
        return 0
    if applied.limit.unit == TOKENS:
        return sum(_tokens_of(attempt, amount) for attempt in call.attempts)
    return amount


def _tokens_of(attempt: Attempt, amount: int) -> int:
    """An attempt's tokens; where nobody reported them, its bill is an upper bound, and the estimate stays instead."""
    usage = attempt.outcome.usage
    if usage is None:
        return 0
    return usage.total if _is_reported(attempt) else min(usage.total, amount)


def _is_reported(attempt: Attempt) -> bool:
    return attempt.outcome.usage is not None and not attempt.outcome.is_estimated
