"""doctor's look at the journals' disk."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from llmobs.core.env import Place
from llmobs.ops.room import missing_mb

MB = 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free_mb", "missing"), [(100, 0), (91, 0), (90, 0), (60, 30)])
def test_what_is_in_the_journals_needs_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mb: int, missing: int
) -> None:
    place = Place(tmp_path)
    owner = place.journal / "gateway-1"
    owner.mkdir(parents=True)
    (owner / "0.seg").write_bytes(bytes(10 * MB))
    monkeypatch.setenv("LLMOBS_JOURNAL_MB", "100")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000 * MB, 0, free_mb * MB))
    assert missing_mb(place) == missing
