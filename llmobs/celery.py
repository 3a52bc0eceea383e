"""Celery's app and its fixed schedule. Tasks are wake-ups: what is to be done is rows, so a lost one loses nothing.

Tasks live in each app's `tasks.py`. A wake-up that was not begun before the next one comes is dropped (`expires`).
"""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmobs.settings")

app = Celery("llmobs")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def every(seconds: float, task: str) -> dict[str, Any]:
    """A line of the schedule."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


app.conf.beat_scheduler = "llmobs.ops.beating:Scheduler"  # one host beats, however many run a beat
app.conf.beat_schedule = {
    "judge": every(5, "evals.sample_and_judge"),
    "health": every(5, "health.follow"),
    "alert": every(5, "alerts.raise_and_deliver"),
    "alert rules": every(10, "alerts.evaluate"),
    "alert slow rules": every(60, "alerts.evaluate_slowly"),
    "compact": every(10, "rollups.compact"),
    "partitions": every(3600, "rollups.make_partitions"),
    "days": every(600, "rollups.close_days"),
    "let go": every(6 * 3600, "keeping.let_go"),
    "erase": every(60, "keeping.erase"),
    "replay": every(15, "keeping.replay"),
    "fetch reports": every(3600, "reconcile.fetch_due"),
    "reconcile": every(60, "reconcile.reconcile_due"),
    "reprice": every(60, "ingest.reprice"),
    "fold traces": every(10, "ingest.fold_traces"),
    "raw bodies": every(3600, "ingest.let_raw_bodies_go"),
}


@setup_logging.connect
def keep_our_logging(**_: object) -> None:
    """Celery sets no handlers of its own when someone answers this signal: Django's settings have set ours."""
