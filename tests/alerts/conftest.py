"""A webhook that listens."""

from collections.abc import Iterator

import pytest

from tests.alerts.far_end import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made
