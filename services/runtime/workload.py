"""The certificate that says who this process is, and the credentials made from it."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_log = logging.getLogger(__name__)

_TRIES = 3


class IdentityUnreadable(Exception):
    """The files do not hold a certificate with its key now; they may in a moment."""


@dataclass(frozen=True)
class WorkloadIdentity:
    """What the files of a workload held at one moment."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    trust_bundle: bytes


@dataclass(frozen=True)
class WorkloadFiles:
    """PEM files of a workload. They may be replaced (by rename, the key first) while the process runs."""

    certificate: Path
    private_key: Path
    trust_bundle: Path

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials that demand a certificate of the mesh from clients and follow changes of the files.

        While these cannot be read, those of before stay good.
        """
        follower = _Follower(self)
        return grpc.dynamic_ssl_server_credentials(
            follower.newest(),
            follower.changed,  # type: ignore[arg-type] # None means unchanged, which its stubs do not know
            require_client_authentication=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a client, from the files as they are now; see ``channels`` for following their changes.

        Raises OSError or IdentityUnreadable.
        """
        identity = self.read()
        return grpc.ssl_channel_credentials(identity.trust_bundle, identity.private_key, identity.certificate)

    def read(self) -> WorkloadIdentity:
        """What the files hold, a certificate and its own key. Raises OSError or IdentityUnreadable."""
        for _ in range(_TRIES):
            identity = WorkloadIdentity(
                self.certificate.read_bytes(), self.private_key.read_bytes(), self.trust_bundle.read_bytes()
            )
            # They are replaced one after the other, so one of each age may have been read.
            if _belong_together(identity):
                return identity
        raise IdentityUnreadable(f"{self.private_key} is not the key of {self.certificate}")

    @property
    def version(self) -> tuple[tuple[int, int], ...]:
        """Another one whenever the certificate (which is replaced after its key) or the trust bundle is another."""
        statuses = [path.stat() for path in (self.certificate, self.trust_bundle)]
        return tuple((status.st_mtime_ns, status.st_ino) for status in statuses)


class _Follower:
    """Tells a server what to show in a handshake when that is not what it showed in the one before."""

    def __init__(self, files: WorkloadFiles) -> None:
        self._files = files
        self._version = files.version

    def newest(self) -> grpc.ServerCertificateConfiguration:
        identity = self._files.read()
        return grpc.ssl_server_certificate_configuration(
            [(identity.private_key, identity.certificate)], identity.trust_bundle
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            if (version := self._files.version) == self._version:
                return None
            found = self.newest()
        except (OSError, IdentityUnreadable) as error:
            _log.warning("the certificate cannot be read; the last one stays", extra={"error": str(error)})
            return None
        self._version = version
        return found


def _belong_together(identity: WorkloadIdentity) -> bool:
    try:
        key = load_pem_private_key(identity.private_key, password=None)
        return x509.load_pem_x509_certificate(identity.certificate).public_key() == key.public_key()
    except ValueError as error:
        raise IdentityUnreadable(f"not PEM: {error}") from error
