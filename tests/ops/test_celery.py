"""The fixed schedule of work in the background."""

from llmobs.celery import app


def test_each_line_of_the_schedule_names_a_task_that_exists() -> None:
    app.loader.import_default_modules()
    assert {line["task"] for line in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_each_task_of_ours_is_woken_by_the_schedule() -> None:
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {line["task"] for line in app.conf.beat_schedule.values()}


def test_a_wake_up_that_comes_too_late_is_dropped() -> None:
    assert all(line["options"]["expires"] <= line["schedule"] for line in app.conf.beat_schedule.values())
