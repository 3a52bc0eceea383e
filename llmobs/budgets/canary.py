"""A budget of zero that every gateway tries at its start: what it does not refuse, no budget of anyone's does.

It belongs to no tenant of the tables (0 is nobody's id), so no list, figure or sum knows it. In the ledger it is a
budget like any other: announced as counted with the others, and refused by the same script.
"""

from llmobs.budgets.definition import BLOCK, USD, BudgetInfo
from llmobs.budgets.window import TOTAL

TENANT_ID = 0
BUDGET = BudgetInfo(
    id=0,
    tenant_id=TENANT_ID,
    name="canary",
    unit=USD,
    limit=0,
    window=TOTAL,
    scope=(),
    action=BLOCK,
    thresholds=(),
    revision=1,
    zone="UTC",
    counted_from_s=0,
)
