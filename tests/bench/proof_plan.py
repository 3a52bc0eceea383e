"""The proof's set-up: tenants, keys, overlapping budgets that are too small, and when what is killed; all by a seed."""

from dataclasses import dataclass
from random import Random

TENANTS = {"small": 0.15, "middle": 0.25, "large": 0.6}  # each with its share of the calls
KEYS = ("prod", "batch")
PROBED = ("exact", "beyond")  # tenants of the probes alone
# What a probe's session may spend. Prices of gpt-4o-mini are multiples of 150 nano-USD for each token, so of the first
# a call can need all that is left, and of the second one nano-USD more than that.
PROBE_LIMITS = {"exact": 3_000_000, "beyond": 2_999_999}

CYCLE_SECONDS, CALM_FROM_SECONDS = 30.0, 20.0  # after the kills of a cycle a calm, for the probes
KINDS = {"gateway": 5, "writer": 3, "valkey": 3, "postgres": 2}  # how often each dies, relatively
BURSTS = (("valkey", "writer"), ("valkey", "postgres"), ("writer", "postgres"), ("valkey", "writer", "postgres"))


def secret_of(tenant: str, key: str) -> str:
    return f"llmobs-proof-{tenant}-{key}-0123456789abcdef"


def variable_of(tenant: str, key: str) -> str:
    return f"PROOF_{tenant}_{key}".upper()


@dataclass(frozen=True, slots=True)
class Kill:
    """At this second of the run, processes of these kinds die, `apart` seconds after one another."""

    at_s: float
    kinds: tuple[str, ...]
    apart_s: float


def kills(seconds: float, seed: int) -> list[Kill]:
    """One process, or several within a second."""
    chance = Random(seed)
    found, at = [], 2.0
    while at < seconds - 2:
        if at % CYCLE_SECONDS < CALM_FROM_SECONDS:
            if chance.random() < 0.4:
                kinds = chance.choice(BURSTS) + ("gateway",) * chance.randint(0, 3)
            else:
                kinds = (chance.choices(list(KINDS), list(KINDS.values()))[0],)
            found.append(Kill(at, kinds, chance.uniform(0, 0.4)))
        at += chance.uniform(0.8, 4)
    return found


def environment() -> dict[str, str]:
    """What the configuration names."""
    secrets = {variable_of(tenant, key): secret_of(tenant, key) for tenant in (*TENANTS, *PROBED) for key in KEYS}
    return {"PROOF_PROVIDER_KEY": "none", **secrets}


def configuration(provider_url: str, seconds: float) -> str:
    """Budgets of month, day, hour and for ever, in USD and tokens, over the tenant and over each value of a dimension.

    Of the tenants' months the first is gone within seconds, the second in the middle of the run, the last never.
    """
    months = {"small": "0.15", "middle": f"{0.006 * seconds:.4f}", "large": f"{0.2 * seconds:.4f}"}
    tenants = "".join(_TENANT.format(name=name, month=months[name], keys=_keys(name)) for name in TENANTS)
    probed = "".join(
        _PROBED.format(name=name, keys=_keys(name), limit=f"{PROBE_LIMITS[name] / 1e9:.9f}") for name in PROBED
    )
    return _PROVIDERS.format(url=provider_url) + tenants + probed


def _keys(tenant: str) -> str:
    return ", ".join(f'{{name: {key}, secret: "env:{variable_of(tenant, key)}"}}' for key in KEYS)


_PROVIDERS = """
providers:
  - name: openai
    dialect: openai
    base_url: "{url}/v1"
    credential: "env:PROOF_PROVIDER_KEY"
    retries: 1
    breaker: off
  - name: anthropic
    dialect: anthropic
    base_url: "{url}"
    credential: "env:PROOF_PROVIDER_KEY"
    retries: 1
    breaker: off
routes:
  - name: reliable
    candidates: [{{provider: openai, model: gpt-4o-mini}}, {{provider: anthropic, model: claude-sonnet-4-5}}]
tenants:
"""
_TENANT = """
  - slug: {name}
    name: {name}
    content: none
    keys: [{keys}]
    budgets:
      - {{name: month, limit_usd: "{month}", window: month, action: block}}
      - {{name: feature, limit_usd: "0.12", window: day, scope: {{feature: "*"}}, action: block}}
      - {{name: user, limit_usd: "0.02", window: hour, scope: {{user: "*"}}, action: block}}
      - {{name: tokens, limit_tokens: 4000, window: day, scope: {{session: "*"}}, action: block}}
      - {{name: key, limit_usd: "{month}", window: hour, scope: {{key: batch}}, action: block}}
      - {{name: user-model, limit_usd: "0.015", window: total, scope: {{user: "*", model: "*"}}, action: block}}
      - {{name: watched, limit_usd: "0.01", window: day, action: alert}}
    limits:
      - {{unit: requests, per: minute, limit: 1000000, scope: {{key: "*"}}}}
      - {{unit: tokens, per: minute, limit: 1000000000, scope: {{user: "*"}}}}
"""
_PROBED = """
  - slug: {name}
    name: {name}
    content: none
    keys: [{keys}]
    budgets:
      - {{name: session, limit_usd: "{limit}", window: total, scope: {{session: "*"}}, action: block}}
"""
