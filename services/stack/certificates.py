"""The stack's own certificate authority: a short-lived certificate for each workload, renewed while the mesh runs."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.runtime.clock import Clock, utc_now
from services.stack.files import write_private, write_private_together

WORKLOADS = ("auth", "gateway", "marketdata", "prediction", "stack", "trading")
"""Who has an identity in the mesh."""
EDGE = "edge"
"""The folder of the gateway's public server certificate: for browsers and clients, no identity in the mesh."""

_AUTHORITY_LIFE = timedelta(days=3650)
_LIFE = timedelta(hours=24)
"""Renewed at half of it; servers, channels and Envoy follow."""
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """Issues certificates (EC P-256) into ``<folder>/<name>/{certificate.pem,private_key.pem}``.

    ``<folder>/ca.pem`` is what everybody trusts; the authority's own key lies elsewhere.
    """

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    life: timedelta
    now: Clock

    @classmethod
    def open(cls, folder: Path, key_file: Path, *, life: timedelta = _LIFE, now: Clock = utc_now) -> "Authority":
        """The authority of ``folder``, made at the first call and whenever it would end before its certificates do."""
        trusted = folder / "ca.pem"
        if key_file.exists() and trusted.exists():
            certificate = x509.load_pem_x509_certificate(trusted.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            if isinstance(key, ec.EllipticCurvePrivateKey) and certificate.not_valid_after_utc > now() + life:
                return cls(folder, certificate, key, life, now)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, now)
        write_private(key_file, _key_pem(key))
        write_private(trusted, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, certificate, key, life, now)

    def renew(self, workloads: Iterable[str] = WORKLOADS) -> list[str]:
        """Issue what is missing, is not ours, or has less than half of its life left; returns the names issued."""
        due = [name for name in (*workloads, EDGE) if not self._is_fresh(name)]
        for name in due:
            self._issue(name)
        return due

    def _is_fresh(self, name: str) -> bool:
        path = self.folder / name / "certificate.pem"
        if not path.exists() or not path.with_name("private_key.pem").exists():
            return False
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError):
            return False
        return certificate.not_valid_after_utc - self.now() > self.life / 2

    def _issue(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        if name != EDGE:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now() - _CLOCK_SKEW)
            .not_valid_after(self.now() + self.life)
            .add_extension(x509.SubjectAlternativeName(_alternative_names(name)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        folder = self.folder / name
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_private_together({folder / "private_key.pem": _key_pem(key), folder / "certificate.pem": pem})


def _alternative_names(name: str) -> list[x509.GeneralName]:
    loopback: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    if name == EDGE:
        return loopback
    return [x509.UniformResourceIdentifier(f"spiffe://levimesh/{name}"), x509.DNSName(name), *loopback]


def _self_signed(key: ec.EllipticCurvePrivateKey, now: Clock) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(_name("LeviMesh embedded stack"))
        .issuer_name(_name("LeviMesh embedded stack"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - _CLOCK_SKEW)
        .not_valid_after(now() + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
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


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
