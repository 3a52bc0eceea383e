"""The parts of the configuration file, in the order in which they are applied."""

from llmobs.ops.configuring.alert_rules import RULES_OF_ALL
from llmobs.ops.configuring.channels import CHANNELS
from llmobs.ops.configuring.entry import Part
from llmobs.ops.configuring.judges import JUDGES
from llmobs.ops.configuring.limits import LIMITS
from llmobs.ops.configuring.prices import MODELS
from llmobs.ops.configuring.prompts import PROMPTS
from llmobs.ops.configuring.providers import PROVIDERS
from llmobs.ops.configuring.routes import ROUTES
from llmobs.ops.configuring.tenants import TENANTS

PARTS: tuple[Part, ...] = (
    PROVIDERS,
    MODELS,
    ROUTES,
    TENANTS,
    LIMITS,
    PROMPTS,
    JUDGES,
    CHANNELS,
    RULES_OF_ALL,
)
