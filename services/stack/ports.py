"""Which ports the stack takes, and whether it may."""

import socket
from collections.abc import Iterable

_LOWEST, _HIGHEST = 10_000, 32_767
"""Below the range that the kernel hands out for outgoing connections: a restart must find its port free."""


class PortTaken(Exception):
    """Somebody else listens on a port that the stack needs; the message says which and what to do."""


def check_free(ports: Iterable[tuple[str, int]], host: str = "127.0.0.1") -> None:
    """Raise PortTaken that names every port in use; ``ports`` are pairs of the setting that changes a port, and it."""
    taken = [(setting, port) for setting, port in ports if not _is_free(host, port)]
    if taken:
        each = "\n".join(f"  port {port}: set {setting} to another one" for setting, port in taken)
        raise PortTaken(f"already in use on {host}:\n{each}\nor stop whatever listens there")


def find_free(count: int, host: str = "127.0.0.1", *, first: int = _LOWEST) -> list[int]:
    """``count`` different ports that nobody listens on now."""
    found: list[int] = []
    for port in range(first, _HIGHEST + 1):
        if len(found) == count:
            return found
        if _is_free(host, port):
            found.append(port)
    raise PortTaken(f"there are no {count} free ports between {first} and {_HIGHEST} on {host}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True
