from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from services.stack.certificates import EDGE, Authority, CertificateRefused

OVERLAP = timedelta(seconds=20)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def an_authority(folder: Path, time: Time) -> Authority:
    return Authority.open(folder / "certificates", folder / "authority.pem", overlap=OVERLAP, now=time)


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


def test_whoever_was_issued_a_certificate_once_is_renewed_with_the_others(tmp_path: Path) -> None:
    time = Time()
    authority = an_authority(tmp_path, time)
    authority.renew(["auth"])
    authority.issue("newcomer")

    time.now += timedelta(minutes=31)

    assert authority.renew(["auth"]) == ["auth", EDGE, "newcomer"]
    assert names(tmp_path, "newcomer").get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://levimesh/newcomer"
    ]


@pytest.mark.parametrize("name", ["", EDGE, "Trading", "a/b", "..", "../auth", "1st", "a b", "a.b", "a\n", "x" * 64])
def test_a_name_that_no_workload_can_have_is_refused(tmp_path: Path, name: str) -> None:
    authority = an_authority(tmp_path, Time())

    with pytest.raises(CertificateRefused, match="cannot be the name of a workload"):
        authority.issue(name)

    assert authority.issued() == {}


def test_certificates_are_replaced_at_once_when_that_is_asked(tmp_path: Path) -> None:
    authority = an_authority(tmp_path, Time())
    authority.renew(["auth", "trading"])
    before = authority.issued()

    assert authority.reissue(["auth"]) == ["auth"]
    assert {name for name, each in authority.issued().items() if each != before[name]} == {"auth"}
    assert set(authority.reissue()) == {"auth", "trading", EDGE}
    assert authority.issued()["trading"] != before["trading"]


def test_who_has_no_certificate_cannot_have_it_replaced(tmp_path: Path) -> None:
    authority = an_authority(tmp_path, Time())
    authority.renew(["auth"])

    with pytest.raises(CertificateRefused, match="no certificate of nobody; there are auth, edge"):
        authority.reissue(["auth", "nobody"])


def test_a_new_authority_is_trusted_before_it_issues_and_the_old_one_until_nobody_shows_it(tmp_path: Path) -> None:
    time = Time()
    authority = an_authority(tmp_path, time)
    authority.renew(["auth"])
    old = authority.certificate

    authority.succeed()
    new = next(each for each in authority.trusted() if each != old)
    assert (authority.renew(["auth"]), authority.certificate) == ([], old)

    time.now += OVERLAP
    assert authority.renew(["auth"]) == ["auth", EDGE]
    assert (authority.certificate, authority.trusted()) == (new, [old, new])
    certificate(tmp_path, "auth").verify_directly_issued_by(new)

    time.now += OVERLAP
    assert authority.renew(["auth"]) == []
    assert authority.trusted() == [new]
    assert not authority.is_changing


def test_an_authority_is_not_replaced_while_it_is_being_replaced(tmp_path: Path) -> None:
    authority = an_authority(tmp_path, Time())
    authority.succeed()

    with pytest.raises(CertificateRefused, match="being replaced already"):
        authority.succeed()


def test_an_authority_is_replaced_by_itself_a_month_before_its_end(tmp_path: Path) -> None:
    time = Time()
    authority = an_authority(tmp_path, time)
    authority.renew(["auth"])

    time.now = authority.certificate.not_valid_after_utc - timedelta(days=31)
    authority.renew(["auth"])
    assert not authority.is_changing

    time.now += timedelta(days=2)
    authority.renew(["auth"])
    assert authority.is_changing


@pytest.mark.parametrize("lost", ["next_authority.pem", "authority.pem"])
def test_a_succession_of_which_a_key_is_lost_does_not_end_in_a_mesh_that_trusts_nobody(
    tmp_path: Path, lost: str
) -> None:
    time = Time()
    authority = an_authority(tmp_path, time)
    authority.renew(["auth"])
    authority.succeed()
    (tmp_path / lost).unlink()

    for _ in range(3):
        time.now += OVERLAP
        authority.renew(["auth"])

    assert authority.trusted() == [authority.certificate]
    certificate(tmp_path, "auth").verify_directly_issued_by(authority.certificate)
