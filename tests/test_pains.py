"""Each pain of storing and showing traces has a place where it is shown that ours does otherwise."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAINS = [
    line.split("\t")
    for line in (ROOT / "tests/samples/pains.tsv").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_none_is_left_out() -> None:
    assert [int(number) for number, _, _ in PAINS] == list(range(34, 49))


@pytest.mark.parametrize("place", sorted({place for *_, places in PAINS for place in places.split()}))
def test_its_place_is_there(place: str) -> None:
    file, _, test = place.partition("::")
    assert not test or f"def {test}(" in (ROOT / file).read_text()
    assert (ROOT / file).is_file()
