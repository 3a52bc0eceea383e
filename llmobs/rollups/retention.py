"""How long minutes are kept: what is older is looked at by the hour. Hours stay as the tenant says (llmobs/keeping)."""

MINUTES_KEPT_DAYS = 31
