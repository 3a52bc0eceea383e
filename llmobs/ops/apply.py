"""Brings the platform to what a configuration file says: all or nothing, and a second time nothing changes.

1. `configuration.parse` reads the file strictly.
2. One transaction makes and changes what the file names, part by part (`configuring.parts`), each change with its audit
   entry. What the file does not name is left alone. Any error rolls all of it back.
3. `waiting.wait_until_live` returns once every running gateway has it (the command does that).
"""

import os
from collections.abc import Mapping, Sequence

from django.db import connection, transaction

from llmobs.ops.configuration import Configuration
from llmobs.ops.configuring.applying import Applying, Report
from llmobs.ops.configuring.parts import PARTS

ACTOR = "apply"
APPLY_LOCK = 7_203_114  # advisory lock: one apply at a time


def apply(
    configuration: Configuration,
    encryption_keys: Sequence[str],
    actor: str = ACTOR,
    is_dry_run: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Make what the configuration names. Raises ConfigurationError, and then nothing has changed."""
    applying = Applying(actor, tuple(encryption_keys), environ)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [APPLY_LOCK])
        for part in PARTS:
            for path, entry in configuration.entries(part):
                part.apply(applying, entry, path)
        if is_dry_run:
            transaction.set_rollback(True)
            applying.report.secrets.clear()  # they were never made
    return applying.report
