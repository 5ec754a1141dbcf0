"""A server for the client to call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge import Edge, running_edge


@pytest.fixture
def edge(certificates: Path) -> Iterator[Edge]:
    """A TLS server like the gateway's."""
    with running_edge(certificates) as running:
        yield running
