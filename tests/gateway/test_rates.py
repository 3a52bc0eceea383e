"""What a process keeps of its calls' limits: leases that are renewed while a call is under way, and given back."""

from typing import Any

import pytest
import redis

from gateway.call import Call
from gateway.dialects.openai import OpenAI
from gateway.errors import Refusal
from gateway.rates import RENEW_SECONDS, Rates
from gateway.snapshot import Snapshot, Stored
from gateway.upstream import Upstream
from llmobs.limits import admission, scripts
from llmobs.limits.admission import LEASE_SECONDS
from llmobs.limits.definition import LimitInfo
from llmobs.providers.registry import CandidateInfo, ProviderInfo
from llmobs.tenants.roster import TenantInfo
from tests.gateway.doors import a_door
from tests.limits.made import info

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 5}'


def snapshot(*limits: LimitInfo) -> Snapshot:
    empty: dict[str, Any] = {name: [] for name in Stored.__struct_fields__}
    return Snapshot(Stored(**{**empty, "version": 1, "limits": list(limits)}), Upstream(), ())


def a_call(span_id: bytes = b"12345678") -> Call:
    call = Call(OpenAI(), {}, a_door(), 0, 0)
    call.tenant = TenantInfo(7, "acme", "Acme", "none", "full", "UTC", 400, True)
    call.body, call.asked, call.span_id = BODY, call.dialect.read(BODY), span_id
    provider = ProviderInfo(1, "openai", "openai", "http://h/v1", "", {}, "openai")
    call.candidates = (CandidateInfo(provider, "m"),)
    return call


AT_ONCE = info(2, unit="concurrent", per="")


def test_a_call_to_which_no_limit_applies_asks_nothing() -> None:
    assert Rates("gateway-1").asking(a_call(), snapshot(info(tenant_id=8))) is None


def test_leases_are_renewed_now_and_then_and_at_once_after_a_lost_connection(valkey: redis.Redis) -> None:
    rates, call = Rates("gateway-1"), a_call()
    asking = rates.asking(call, snapshot(AT_ONCE))
    assert asking is not None
    rates.granted(call, asking, (1_795_252_000, 1, 1), 0)

    assert [command.args[1:] for command in rates.tick(100.0, True, 0, 1)] == [["gateway-1:3132333435363738"]]
    assert rates.tick(100.0 + RENEW_SECONDS - 1, True, 0, 1) == []
    assert len(rates.tick(100.0 + RENEW_SECONDS, True, 0, 1)) == 1
    assert rates.tick(121.0, False, 1, 1) == []  # Valkey is away
    [renewal] = rates.tick(122.0, True, 1, 1)
    valkey.eval(scripts.RENEW, 1, *renewal.keys, *renewal.args)
    assert valkey.zcard(renewal.keys[0]) == 1
    assert LEASE_SECONDS < valkey.ttl(renewal.keys[0]) <= 2 * LEASE_SECONDS

    settled = rates.settle(call, asking)
    assert settled is not None
    assert settled.args == ["", "gateway-1:3132333435363738"]
    assert rates.settle(call, asking) is None
    assert rates.tick(200.0, True, 1, 1) == []


def test_with_valkey_away_calls_at_once_are_counted_here() -> None:
    rates, limits = Rates("gateway-1"), snapshot(AT_ONCE)
    calls = [a_call(bytes([n]) * 8) for n in range(3)]
    askings = [rates.asking(call, limits) for call in calls]
    assert all(asking is not None for asking in askings)
    for call, asking in zip(calls[:2], askings[:2], strict=True):
        assert asking is not None
        rates.take_locally(call, asking)
    assert askings[2] is not None
    with pytest.raises(Refusal, match=r"2 calls at once for this tenant \(limit 2\): try again in 1 s"):
        rates.take_locally(calls[2], askings[2])
    assert askings[0] is not None
    settled = rates.settle(calls[0], askings[0])
    assert settled is not None  # Valkey was told of its place if it came back meanwhile
    assert settled.args == ["", "gateway-1:0000000000000000"]
    rates.take_locally(calls[2], askings[2])


def test_a_call_that_was_never_sent_gives_everything_back() -> None:
    rates, call = Rates("gateway-1"), a_call()
    asking = rates.asking(call, snapshot(info(10), info(1_000, id=2, unit="tokens")))
    assert asking is not None
    rates.granted(call, asking, (1_795_252_000, 9, 61, 970, 61), 0)
    tokens = asking.asked[1][1]
    settled = rates.settle(call, asking)
    assert settled is not None
    assert settled.args == ["1795252000", "-1", "1795252000", str(-tokens)]
    assert admission.ask(asking.asked, asking.member)[1][-1] == str(tokens)
