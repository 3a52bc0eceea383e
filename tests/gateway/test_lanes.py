"""Reports go to a gateway's journals in turn; what is said of calls stays in the first."""

from pathlib import Path

from gateway.lanes import Lanes, lane_name
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.journal_reader import JournalReader
from tests.ingest.making import otlp

KEY = bytes(range(32))


def test_reports_take_turns(tmp_path: Path) -> None:
    names = [lane_name("gateway-1", number) for number in (1, 2)]
    assert names == ["gateway-1", "gateway-1.2"]
    journals = [JournalWriter(tmp_path / name, KEY) for name in names]
    lanes = Lanes(journals)
    sent = [otlp(model=f"model-{number}") for number in range(5)]
    for entry in sent:
        lanes.append(entry)
    found = [[entry for _, entry in JournalReader(tmp_path / name, KEY).read(0).entries] for name in names]
    assert found == [sent[0::2], sent[1::2]]
    for journal in journals:
        journal.close()
