"""Certificates and keys, which Envoy reads from files and reads again when they are replaced."""

from pathlib import Path
from typing import Any

from gateway.settings import GatewaySettings

Config = dict[str, Any]

_EDGE, _MESH_IDENTITY, _MESH_TRUST = "edge", "mesh_identity", "mesh_trust"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def secrets(settings: GatewaySettings) -> dict[str, Config]:
    """The content of one file for each secret, by its name: Envoy follows changes only of what such files name."""
    return {
        _EDGE: _certificate(_EDGE, settings.edge_certificate, settings.edge_private_key),
        _MESH_IDENTITY: _certificate(_MESH_IDENTITY, settings.tls_certificate, settings.tls_private_key),
        _MESH_TRUST: _trust(settings.tls_trust_bundle),
    }


def downstream_tls(folder: Path) -> Config:
    """What clients meet at the edge."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [_reference(_EDGE, folder)],
            },
        },
    }


def upstream_tls(workload: str, folder: Path) -> Config:
    """mTLS to a service, which has to prove by its SPIFFE id that it is ``workload``."""
    identity = {"san_type": "URI", "matcher": {"exact": f"spiffe://levimesh/{workload}"}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.UpstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificate_sds_secret_configs": [_reference(_MESH_IDENTITY, folder)],
                "combined_validation_context": {
                    "default_validation_context": {"match_typed_subject_alt_names": [identity]},
                    "validation_context_sds_secret_config": _reference(_MESH_TRUST, folder),
                },
            },
        },
    }


def web_tls(host: str, trust_bundle: Path) -> Config:
    """TLS to a server that is not of the mesh, and proves to be ``host`` to the authorities in ``trust_bundle``."""
    identity = {"san_type": "DNS", "matcher": {"exact": host}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "validation_context": {
                    "trusted_ca": {"filename": str(trust_bundle)},
                    "match_typed_subject_alt_names": [identity],
                },
            },
        },
    }


def _reference(name: str, folder: Path) -> Config:
    path = {"path": str(folder / f"{name}.json"), "watched_directory": {"path": str(folder)}}
    return {"name": name, "sds_config": {"path_config_source": path}}


def _certificate(name: str, certificate: Path, private_key: Path) -> Config:
    files = {
        "certificate_chain": {"filename": str(certificate)},
        "private_key": {"filename": str(private_key)},
        "watched_directory": {"path": str(certificate.parent)},
    }
    return _secret(name, {"tls_certificate": files})


def _trust(bundle: Path) -> Config:
    files = {"trusted_ca": {"filename": str(bundle)}, "watched_directory": {"path": str(bundle.parent)}}
    return _secret(_MESH_TRUST, {"validation_context": files})


def _secret(name: str, content: Config) -> Config:
    return {"resources": [{"@type": f"{_TLS}.Secret", "name": name, **content}]}
