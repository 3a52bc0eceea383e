"""Fills in the demo's configuration file; keeps its keys in the data folder, so that a second run finds them again."""

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

from llmobs.core.env import Place, replace_file
from llmobs.core.money import exact_usd
from llmobs.ops.demo.plan import ATLAS, FORGE, JUDGES, TRIAL, WORKSHOP
from llmobs.tenants.keys import new_secret

TEMPLATE = Path(__file__).parent / "demo.yaml"
KEYS_FILE = "demo.json"
TENANTS = (ATLAS, FORGE, TRIAL, WORKSHOP, JUDGES)


@dataclass(frozen=True, slots=True)
class Providers:
    """Where the demo's providers answer, and what they want to see."""

    openai_url: str
    anthropic_url: str
    openai_credential: str
    anthropic_credential: str

    @classmethod
    def simulated(cls, url: str) -> "Providers":
        return cls(f"{url}/v1", url, "none-needed", "none-needed")

    @classmethod
    def live(cls) -> "Providers":
        return cls(
            "https://api.openai.com/v1",
            "https://api.anthropic.com",
            "env:OPENAI_API_KEY",
            "env:ANTHROPIC_API_KEY",
        )


def filled_in(providers: Providers, trial_limit_nanousd: int) -> str:
    """The configuration file's text."""
    return Template(TEMPLATE.read_text()).substitute(
        OPENAI_URL=providers.openai_url,
        ANTHROPIC_URL=providers.anthropic_url,
        OPENAI_CREDENTIAL=providers.openai_credential,
        ANTHROPIC_CREDENTIAL=providers.anthropic_credential,
        TRIAL_LIMIT_USD=exact_usd(trial_limit_nanousd),
    )


def keys(place: Place) -> dict[str, str]:
    """The demo's secret by tenant: made at the first run, mode 0600."""
    file = place.folder / KEYS_FILE
    if file.exists():
        kept = json.loads(file.read_bytes())
        if all(isinstance(kept.get(tenant), str) for tenant in TENANTS):
            return {tenant: kept[tenant] for tenant in TENANTS}
    made = {tenant: new_secret() for tenant in TENANTS}
    place.make()
    replace_file(file, json.dumps(made, indent=1).encode())
    return made


def environment(secrets: dict[str, str]) -> dict[str, str]:
    """The variables that the configuration file names."""
    return {f"LLMOBS_DEMO_KEY_{tenant.upper()}": secret for tenant, secret in secrets.items()}
