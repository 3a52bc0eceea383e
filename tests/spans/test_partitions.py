"""Partitions are made once, by whoever comes first."""

from datetime import date, timedelta
from typing import Any

import psycopg

from llmobs.spans.partitions import DAY_TABLES, existing_days, make_ahead, make_partitions

OLD = date(2031, 1, 1)


def test_making_partitions_again_changes_nothing(pg: psycopg.Connection[Any]) -> None:
    for _ in range(2):
        with pg.transaction():
            make_partitions(pg, {OLD, OLD + timedelta(days=1)})
    assert all({OLD, OLD + timedelta(days=1)} <= existing_days(pg, table) for table in DAY_TABLES)
    make_ahead(pg, OLD)
    assert OLD + timedelta(days=3) in existing_days(pg)
