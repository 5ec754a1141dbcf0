"""Secrets at rest, while the key that encrypts them changes."""

import pytest

from services.auth.adapters.sealing import SealBroken, Sealer

FIRST, SECOND, THIRD = (bytes(31) + bytes([number]) for number in range(3))


def test_what_is_sealed_is_opened_for_whom_it_belongs_to_only() -> None:
    sealer = Sealer.with_keys(FIRST)

    sealed = sealer.seal(b"a secret", of="ann")

    assert b"a secret" not in sealed
    assert sealed != sealer.seal(b"a secret", of="ann")
    assert sealer.unseal(sealed, of="ann") == b"a secret"
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, of="bob")
    with pytest.raises(SealBroken):
        Sealer.with_keys(SECOND).unseal(sealed, of="ann")


def test_a_key_that_changes_while_the_process_runs_is_followed_and_the_former_one_still_opens() -> None:
    told = [FIRST]
    sealer = Sealer(lambda: list(told))
    sealed = sealer.seal(b"a secret", of="ann")

    told[0] = SECOND

    assert sealer.unseal(sealed, of="ann") == b"a secret"
    resealed = sealer.resealed(sealed, of="ann")
    assert resealed is not None
    assert Sealer.with_keys(SECOND).unseal(resealed, of="ann") == b"a secret"
    assert sealer.resealed(resealed, of="ann") is None
    told[0] = THIRD
    assert sealer.unseal(sealed, of="ann") == sealer.unseal(resealed, of="ann") == b"a secret"


def test_while_nonsense_is_told_the_last_key_stays() -> None:
    told: list[bytes] = [FIRST]

    def keys() -> list[bytes]:
        if not told:
            raise ValueError
        return told

    sealer = Sealer(keys)
    told.clear()

    assert sealer.current == FIRST
    assert Sealer.with_keys(FIRST).unseal(sealer.seal(b"a secret", of="ann"), of="ann") == b"a secret"
