"""What a limit counts, over how long, and for whom: the words of a limit, and the buckets of its windows."""

REQUESTS, TOKENS, CONCURRENT = "requests", "tokens", "concurrent"
INPUT_TOKENS, OUTPUT_TOKENS = "input_tokens", "output_tokens"
UNITS = (REQUESTS, TOKENS, CONCURRENT, INPUT_TOKENS, OUTPUT_TOKENS)

MINUTE, HOUR, DAY = "minute", "hour", "day"
AT_ONCE = ""  # of calls under way there is no period
REQUEST = "request"  # a cap on each request by itself

# A window slides by steps: seconds of one bucket, and how many buckets make the window. What a call took leaves the
# window up to one step late, never early.
STEPS = {MINUTE: (1, 60), HOUR: (60, 60), DAY: (300, 288)}

PERIODS: dict[str, tuple[str, ...]] = {
    REQUESTS: tuple(STEPS),
    TOKENS: tuple(STEPS),
    CONCURRENT: (AT_ONCE,),
    INPUT_TOKENS: (REQUEST,),
    OUTPUT_TOKENS: (REQUEST,),
}

EACH = "*"  # a limit of its own for each value

# Whom a limit is for. `tenant` is said of a limit of the whole installation alone.
DIMENSIONS = ("tenant", "key", "feature", "environment", "service", "user", "session", "ip", "model", "provider")
# Values that mean something within their tenant alone: the same name elsewhere is another's.
TENANTS_OWN = frozenset({"tenant", "key", "feature", "environment", "service", "user", "session"})

# Scripts count in doubles and write sums of several calls: far below 2**53, far above any use.
MOST = 10**13


def period(unit: str, per: str) -> str:
    """The period as it is kept: the only one, where the unit has but one and whatever was said of it."""
    periods = PERIODS.get(unit, ())
    return periods[0] if len(periods) == 1 else per
