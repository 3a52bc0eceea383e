"""What a tenant of the file can have, in the order in which it is applied."""

from llmobs.ops.configuring.budgets import BUDGETS
from llmobs.ops.configuring.entry import Part
from llmobs.ops.configuring.keys import KEYS

TENANT_PARTS: tuple[Part, ...] = (
    KEYS,
    BUDGETS,
)
