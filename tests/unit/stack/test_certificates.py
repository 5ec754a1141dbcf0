from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from services.stack.certificates import EDGE, Authority

START = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def an_authority(folder: Path, time: Time) -> Authority:
    return Authority.open(folder / "certificates", folder / "authority.pem", now=time)


def certificate(folder: Path, workload: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "certificates" / workload / "certificate.pem").read_bytes())


def names(folder: Path, workload: str) -> x509.SubjectAlternativeName:
    return certificate(folder, workload).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_workload_is_named_by_its_spiffe_id_and_its_host_names(tmp_path: Path) -> None:
    an_authority(tmp_path, Time()).renew(["trading"])

    said = names(tmp_path, "trading")

    assert said.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://levimesh/trading"]
    assert said.get_values_for_type(x509.DNSName) == ["trading", "localhost"]
    assert "127.0.0.1" in {str(address) for address in said.get_values_for_type(x509.IPAddress)}


def test_the_public_certificate_has_no_identity_in_the_mesh_and_cannot_be_used_by_a_client(tmp_path: Path) -> None:
    an_authority(tmp_path, Time()).renew([])

    usage = certificate(tmp_path, EDGE).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert names(tmp_path, EDGE).get_values_for_type(x509.UniformResourceIdentifier) == []
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_certificate_lives_an_hour_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    authority = an_authority(tmp_path, Time())
    authority.renew(["auth"])

    issued = certificate(tmp_path, "auth")

    issued.verify_directly_issued_by(authority.certificate)
    assert issued.not_valid_after_utc == START + timedelta(hours=1)
    assert issued.not_valid_before_utc < START


@pytest.mark.parametrize(("minutes", "renewed"), [(29, []), (30, ["auth", EDGE])])
def test_what_has_lived_half_of_its_life_is_renewed(tmp_path: Path, minutes: int, renewed: list[str]) -> None:
    time = Time()
    an_authority(tmp_path, time).renew(["auth"])

    time.now += timedelta(minutes=minutes)

    assert an_authority(tmp_path, time).renew(["auth"]) == renewed


def test_a_lost_authority_is_made_again_and_everything_is_issued_anew(tmp_path: Path) -> None:
    an_authority(tmp_path, Time()).renew(["auth"])
    (tmp_path / "authority.pem").unlink()

    authority = an_authority(tmp_path, Time())

    assert authority.renew(["auth"]) == ["auth", EDGE]
    certificate(tmp_path, "auth").verify_directly_issued_by(authority.certificate)


def test_private_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    an_authority(tmp_path, Time()).renew(["auth"])

    keys = [tmp_path / "authority.pem", tmp_path / "certificates" / "auth" / "private_key.pem"]

    assert [oct(key.stat().st_mode & 0o777) for key in keys] == ["0o600", "0o600"]
