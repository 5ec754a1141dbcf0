"""What stands in the certificates of the mesh: EC P-256, a SPIFFE id, and names to be reached by."""

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TRUST_DOMAIN = "spiffe://levimesh/"
CLOCK_SKEW = timedelta(minutes=5)
"""How long before its issue a certificate is good already, for machines whose clocks are behind."""


@dataclass(frozen=True)
class Issuer:
    """An authority's certificate and the key that it signs with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls, now: datetime, life: timedelta) -> Self:
        """A new authority. Its name is its own, so that two that are trusted at once are told apart."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"LeviMesh embedded stack {secrets.token_hex(4)}")
        made = (
            _certificate(name, name, key.public_key(), now, life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(made, key)

    def issue(
        self, name: str, alternative_names: Sequence[x509.GeneralName], now: datetime, life: timedelta, *, client: bool
    ) -> "Issued":
        """A new key and its certificate for a server, which a client may show too if ``client``."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
        made = (
            _certificate(_name(name), self.certificate.subject, key.public_key(), now, life)
            .add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Issued(pem(made), key_pem(key))

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether this authority has signed ``certificate``."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key in PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)


def names_of_workload(name: str) -> list[x509.GeneralName]:
    """The SPIFFE id of a workload, its host name, and this machine."""
    return [x509.UniformResourceIdentifier(f"{TRUST_DOMAIN}{name}"), x509.DNSName(name), *names_of_this_machine()]


def names_of_this_machine() -> list[x509.GeneralName]:
    """What this machine is reached by from itself."""
    return [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]


def issue_time(certificate: x509.Certificate) -> datetime:
    """When ``certificate`` was made."""
    return certificate.not_valid_before_utc + CLOCK_SKEW


def pem(certificate: x509.Certificate) -> bytes:
    """``certificate`` in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """``key`` in PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
