"""The certificate that says who this process is, and the credentials made from it."""

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class WorkloadFiles:
    """PEM files of a workload. They may be replaced (by rename) while the process runs."""

    certificate: Path
    private_key: Path
    trust_bundle: Path

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials that demand a certificate of the mesh from clients and follow changes of the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._server_configuration(), self._server_configuration, require_client_authentication=True
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a client, from the files as they are now; see ``channels`` for following their changes."""
        return grpc.ssl_channel_credentials(
            self.trust_bundle.read_bytes(), self.private_key.read_bytes(), self.certificate.read_bytes()
        )

    def _server_configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.private_key.read_bytes(), self.certificate.read_bytes())], self.trust_bundle.read_bytes()
        )
