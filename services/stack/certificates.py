"""The stack's own certificate authority: a short-lived certificate for each workload, renewed while the mesh runs."""

import fcntl
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.runtime.clock import Clock, utc_now
from services.stack.files import write_private, write_private_together
from services.stack.issuing import Issuer, issue_time, key_pem, names_of_this_machine, names_of_workload, pem

WORKLOADS = ("auth", "gateway", "marketdata", "prediction", "stack", "trading")
"""Who has an identity in the mesh."""
EDGE = "edge"
"""The folder of the gateway's public server certificate: for browsers and clients, no identity in the mesh."""
LIFE = timedelta(hours=1)
"""How long a certificate is good; it is renewed at half of it. Servers, channels and Envoy follow."""
OVERLAP = timedelta(seconds=15)
"""How long everybody has to notice a new file before anything depends on it."""

_AUTHORITY_LIFE = timedelta(days=3650)
_AUTHORITY_NOTICE = timedelta(days=30)
"""How long before its end an authority is succeeded by another."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class CertificateRefused(Exception):
    """What is asked of the authority cannot be done; the message says why."""


@dataclass(frozen=True)
class Authority:
    """Issues certificates into ``<folder>/<name>/{certificate.pem,private_key.pem}``.

    ``<folder>/ca.pem`` is what everybody trusts; the authority's own key lies elsewhere. All that it knows is in these
    files, and a lock beside the key keeps two processes from changing them at once.

    An authority is succeeded without a moment in which somebody shows what somebody else does not trust yet: first both
    are trusted, then the new one issues everything anew, then the old one is not trusted any more. Between these steps
    lies ``overlap``; each ``renew`` does the step whose time has come.
    """

    folder: Path
    key_file: Path
    life: timedelta = LIFE
    overlap: timedelta = OVERLAP
    now: Clock = utc_now

    @classmethod
    def open(
        cls, folder: Path, key_file: Path, *, life: timedelta = LIFE, overlap: timedelta = OVERLAP, now: Clock = utc_now
    ) -> "Authority":
        """The authority of ``folder``, made at the first call and whenever it would end before its certificates do."""
        authority = cls(folder, key_file, life, overlap, now)
        with authority._locked():
            authority._issuer()
        return authority

    @property
    def certificate(self) -> x509.Certificate:
        """Of the authority that issues now."""
        with self._locked():
            return self._issuer().certificate

    def trusted(self) -> list[x509.Certificate]:
        """The authorities that everybody trusts now; two while one succeeds the other."""
        path = self._bundle
        return x509.load_pem_x509_certificates(path.read_bytes()) if path.exists() else []

    def issued(self) -> dict[str, x509.Certificate]:
        """The certificates that there are, by the names of their folders."""
        paths = {path.parent.name: path for path in sorted(self.folder.glob("*/certificate.pem"))}
        return {name: x509.load_pem_x509_certificate(path.read_bytes()) for name, path in paths.items()}

    def renew(self, workloads: Iterable[str] = WORKLOADS) -> list[str]:
        """Issue what is missing, is not ours, or has less than half of its life left; returns the names issued.

        Besides ``workloads`` that is whatever has been issued before, and the public certificate.
        """
        with self._locked():
            issuer = self._succeed(self._issuer())
            due = [
                name for name in {**dict.fromkeys([*workloads, EDGE]), **self.issued()} if self._is_due(name, issuer)
            ]
            for name in due:
                self._issue(name, issuer)
            self._drop_predecessors(issuer)
        return due

    def issue(self, name: str) -> None:
        """Issue a certificate for a workload that need not be one of WORKLOADS; it is renewed from now on.

        Raises CertificateRefused for a name that cannot be a workload's.
        """
        if not _NAME.fullmatch(name) or name == EDGE:
            raise CertificateRefused(
                f"{name!r} cannot be the name of a workload: "
                f"up to 63 lower-case letters, digits and dashes, a letter first, and not {EDGE!r}"
            )
        with self._locked():
            self._issue(name, self._issuer())

    def reissue(self, names: Iterable[str] = ()) -> list[str]:
        """Replace certificates now, all unless some are named; returns whose. Raises CertificateRefused."""
        known = list(self.issued())
        chosen = list(dict.fromkeys(names)) or known
        if unknown := [name for name in chosen if name not in known]:
            raise CertificateRefused(
                f"there is no certificate of {', '.join(unknown)}; there are {', '.join(known) or 'none'}"
            )
        with self._locked():
            issuer = self._issuer()
            for name in chosen:
                self._issue(name, issuer)
        return chosen

    def succeed(self) -> None:
        """Begin to replace the authority itself; ``renew`` carries on. Raises CertificateRefused when that goes on."""
        with self._locked():
            issuer = self._issuer()
            if len(self.trusted()) > 1:
                raise CertificateRefused("the authority is being replaced already; see: levimesh certs list")
            self._announce(issuer)

    @property
    def is_changing(self) -> bool:
        """Whether one authority is being succeeded by another."""
        return len(self.trusted()) > 1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.key_file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _bundle(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def _next_key_file(self) -> Path:
        return self.key_file.with_name(f"next_{self.key_file.name}")

    def _issuer(self) -> Issuer:
        """The one that issues now, made anew when it is lost or at its end."""
        known = self._of_key(self.key_file)
        if known is not None and known.certificate.not_valid_after_utc > self.now() + self.life:
            return known
        made = Issuer.make(self.now(), _AUTHORITY_LIFE)
        self._next_key_file.unlink(missing_ok=True)
        write_private(self.key_file, key_pem(made.key))
        write_private(self._bundle, pem(made.certificate))
        return made

    def _of_key(self, key_file: Path) -> Issuer | None:
        """The trusted authority whose key is in ``key_file``."""
        if not key_file.exists():
            return None
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            for certificate in self.trusted():
                if certificate.public_key() == key.public_key():
                    return Issuer(certificate, key)
        return None

    def _announce(self, issuer: Issuer) -> None:
        upcoming = Issuer.make(self.now(), _AUTHORITY_LIFE)
        write_private(self._next_key_file, key_pem(upcoming.key))
        write_private(self._bundle, pem(issuer.certificate) + pem(upcoming.certificate))

    def _succeed(self, issuer: Issuer) -> Issuer:
        """Do the step that is due; returns who issues afterwards."""
        upcoming = self._of_key(self._next_key_file)
        if upcoming is None:
            if issuer.certificate.not_valid_after_utc - self.now() < _AUTHORITY_NOTICE and not self.is_changing:
                self._announce(issuer)
            return issuer
        if self.now() - issue_time(upcoming.certificate) < self.overlap:
            return issuer
        self._next_key_file.replace(self.key_file)
        return upcoming

    def _drop_predecessors(self, issuer: Issuer) -> None:
        """Trust ``issuer`` alone once everything is issued by it and has been noticed."""
        if not self.is_changing or self._next_key_file.exists():
            return
        everything = self.issued().values()
        if all(issuer.has_issued(each) and self.now() - issue_time(each) >= self.overlap for each in everything):
            write_private(self._bundle, pem(issuer.certificate))

    def _is_due(self, name: str, issuer: Issuer) -> bool:
        path = self.folder / name / "certificate.pem"
        if not path.exists() or not path.with_name("private_key.pem").exists():
            return True
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        half_of_its_life = (certificate.not_valid_after_utc - issue_time(certificate)) / 2
        return not issuer.has_issued(certificate) or certificate.not_valid_after_utc - self.now() <= half_of_its_life

    def _issue(self, name: str, issuer: Issuer) -> None:
        names = names_of_this_machine() if name == EDGE else names_of_workload(name)
        made = issuer.issue(name, names, self.now(), self.life, client=name != EDGE)
        folder = self.folder / name
        # The key first: who watches the certificate finds both.
        write_private_together(
            {folder / "private_key.pem": made.private_key, folder / "certificate.pem": made.certificate}
        )
