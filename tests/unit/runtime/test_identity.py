"""Workloads: who a certificate names."""

import pytest

from services.runtime.identity import workload_of


@pytest.mark.parametrize(
    ("names", "workload"),
    [
        ([b"localhost", b"spiffe://levimesh/trading"], "trading"),
        ([b"spiffe://elsewhere/trading"], ""),
        ([b"trading"], ""),
        ([], ""),
    ],
)
def test_a_workload_is_named_by_the_spiffe_id_of_this_mesh(names: list[bytes], workload: str) -> None:
    assert workload_of(names) == workload
