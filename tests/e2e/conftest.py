"""One mesh for all end-to-end tests."""

from collections.abc import Iterator

import pytest

from tests.embedded import Mesh, a_mesh


@pytest.fixture(scope="session")
def mesh() -> Iterator[Mesh]:
    """A mesh on the seeded market of simex, with a month of history."""
    with a_mesh(MARKETDATA_HISTORY_5M_DAYS="30", SIMEX_HISTORY_DAYS="31") as mesh:
        yield mesh


@pytest.fixture(scope="session")
def token(mesh: Mesh) -> str:
    """An access token of the admin, for the first five minutes."""
    return mesh.token()
