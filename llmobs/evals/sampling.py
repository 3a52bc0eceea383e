"""Which answers are judged: a share of the calls that a judge's rule names, chosen by trace id.

The choice depends on the trace id alone, so that a repeated run chooses the same traces. Each chosen call gets a row;
where it cannot be judged, the row says why.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from llmobs.core.ids import new_row_id

# Calls are looked for this far back: a writer that was behind for less loses no judgement.
LOOK_BACK = timedelta(hours=2)

NOT_KEPT = "its messages are not kept (content policy)"


class Cursor(Protocol):
    """A database cursor, psycopg's or Django's."""

    rowcount: int

    def execute(self, query: str, params: Any = ..., /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """Whose calls a judge samples: `feature` "" is every feature, `sample` a share from 0 to 1."""

    judge_id: int
    tenant_id: int
    feature: str
    sample: Decimal
    made_at: datetime


# 60 bits of the trace id's MD5 (for spread, not for secrecy), below the share of 2^60.
# Ids: each row's is a millisecond (of `new_row_id`, above 22 bits) after the one before. Its low bits stay this
# statement's, so that it meets no other of this process; another process's is refused, and the next run goes on.
SAMPLE = """
INSERT INTO evals_judgement (id, judge_id, tenant_id, trace_id, span_id, start, state, reason, attempts,
                             finished_at, created_at)
SELECT %(first_id)s + (row_number() OVER () << 22), %(judge_id)s, s.tenant_id, s.trace_id, s.span_id, s.start,
       CASE WHEN s.block_id IS NULL THEN 'skipped' ELSE 'pending' END,
       CASE WHEN s.block_id IS NULL THEN %(not_kept)s ELSE '' END,
       0, CASE WHEN s.block_id IS NULL THEN %(now)s::timestamptz END, %(now)s
FROM span s
WHERE s.tenant_id = %(tenant_id)s AND s.start >= %(since)s AND s.is_call AND s.is_counted
  AND s.status IN ('ok', 'degraded')
  AND (%(feature)s = '' OR s.feature = %(feature)s)
  AND s.key_id NOT IN (SELECT key_id FROM evals_judge)
  AND ('x' || substr(md5(s.trace_id), 1, 15))::bit(60)::bigint < floor(%(sample)s * 1152921504606846976)
ON CONFLICT (tenant_id, judge_id, trace_id, span_id) DO NOTHING
"""


def sample(cursor: Cursor, rule: Rule, now: datetime) -> int:
    """Make a row for each newly chosen call; returns how many. Calls from before the judge was made stay unjudged."""
    cursor.execute(
        SAMPLE,
        {
            "first_id": new_row_id(),
            "judge_id": rule.judge_id,
            "tenant_id": rule.tenant_id,
            "feature": rule.feature,
            "sample": rule.sample,
            "since": max(rule.made_at, now - LOOK_BACK),
            "not_kept": NOT_KEPT,
            "now": now,
        },
    )
    return cursor.rowcount
