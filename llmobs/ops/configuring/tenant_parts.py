"""What a tenant of the file can have, in the order in which it is applied."""

from llmobs.ops.configuring.alert_rules import TENANT_RULES
from llmobs.ops.configuring.budgets import BUDGETS
from llmobs.ops.configuring.channels import TENANT_CHANNELS
from llmobs.ops.configuring.entry import Part
from llmobs.ops.configuring.keys import KEYS
from llmobs.ops.configuring.limits import TENANT_LIMITS
from llmobs.ops.configuring.prompts import TENANT_PROMPTS
from llmobs.ops.configuring.tenant_brake import BRAKE
from llmobs.ops.configuring.tenant_cache import CACHE
from llmobs.ops.configuring.tenant_guards import GUARDS
from llmobs.ops.configuring.tenant_keeping import KEEPING

TENANT_PARTS: tuple[Part, ...] = (
    KEYS,
    BUDGETS,
    TENANT_LIMITS,
    TENANT_PROMPTS,
    CACHE,
    GUARDS,
    BRAKE,
    KEEPING,
    TENANT_CHANNELS,
    TENANT_RULES,
)
