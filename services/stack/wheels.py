"""Where the servers are that come as Python wheels."""

from importlib.util import find_spec
from pathlib import Path


class NotInstalled(Exception):
    """A server of the stack is missing."""


def wheel_folder(package: str) -> Path:
    """The folder of ``package``, found without importing it: importing may have effects and takes its time."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotInstalled(f"{package} is missing; install the servers with: pip install 'levimesh[stack]'")
    return Path(spec.origin).parent
