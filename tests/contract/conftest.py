"""One whole mesh for the tests of the contracts, whose limits are too high to meet."""

from collections.abc import Iterator

import pytest

from tests.embedded import Mesh, a_mesh


@pytest.fixture(scope="session")
def mesh() -> Iterator[Mesh]:
    with a_mesh(LEVIMESH_RATE_LIMIT_SCALE="0") as mesh:
        yield mesh
