"""Reads the bundled trace: real arrival times and sizes of production requests (data/ATTRIBUTION.md)."""

import csv
import lzma
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

DATA = Path(__file__).parent / "data"

Service = Literal["conv", "code"]


@dataclass(frozen=True, slots=True)
class Row:
    """One request of the trace: seconds since 1970, tokens of the prompt, tokens of the answer."""

    at_s: float
    context_tokens: int
    generated_tokens: int


def read_trace(service: Service, most: int | None = None) -> list[Row]:
    """The conversation or the code service's requests in order of arrival; the first `most` of them if given."""
    with lzma.open(DATA / f"azure_llm_inference_2023_{service}.csv.xz", "rt", encoding="ascii", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        rows = [Row(_seconds(at), int(context), int(generated)) for at, context, generated in lines]
    return rows[:most]


def _seconds(text: str) -> float:
    """`2023-11-16 18:15:46.6805900`: seven decimals, of which six are kept."""
    return datetime.strptime(text[:26], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
