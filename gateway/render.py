"""Envoy's configuration as files, rendered from the contracts and the settings."""

import json
import os
from pathlib import Path
from typing import Any

from gateway.clusters import clusters
from gateway.contracts import WORKLOAD, descriptor_set
from gateway.filters import DESCRIPTORS_FILE
from gateway.listeners import ROUTES_FILE, listeners, routes
from gateway.overload import overload_manager, runtime
from gateway.pages import page_files
from gateway.secrets import secrets
from gateway.settings import GatewaySettings

ENVOY_FILE = "envoy.json"
"""The file to start Envoy with: ``envoy -c FOLDER/envoy.json``."""


def render(settings: GatewaySettings, folder: Path) -> dict[str, bytes]:
    """File name to content of all that Envoy reads from ``folder``, certificates and keys themselves excepted."""
    folder = folder.absolute()
    return {
        ROUTES_FILE: _json(routes(settings, folder)),
        ENVOY_FILE: _json(_bootstrap(settings, folder)),
        DESCRIPTORS_FILE: descriptor_set(),
        **page_files(),
        **{f"{name}.json": _json(secret) for name, secret in secrets(settings).items()},
    }


def write(settings: GatewaySettings, folder: Path) -> Path:
    """Render into ``folder``, replacing each file in one step; returns the file to start Envoy with."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in render(settings, folder).items():
        new = folder / f".{name}.{os.getpid()}.new"
        new.write_bytes(content)
        new.replace(folder / name)
    return folder / ENVOY_FILE


def _bootstrap(settings: GatewaySettings, folder: Path) -> dict[str, Any]:
    return {
        "node": {"id": WORKLOAD, "cluster": WORKLOAD},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "static_resources": {
            "listeners": listeners(settings, folder),
            "clusters": clusters(settings, folder),
        },
        "overload_manager": overload_manager(settings),
        "layered_runtime": runtime(),
    }


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
