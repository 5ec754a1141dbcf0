"""Writing files so that no reader ever sees half of one, and no stranger a secret."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, readable by its owner only. Its folder is made when missing."""
    write_private_together({path: content})


def write_private_together(files: Mapping[Path, bytes]) -> None:
    """The same for files that belong together: they are replaced one right after the other."""
    staged = {path: _stage(path, content) for path, content in files.items()}
    for path, new in staged.items():
        new.replace(path)


def is_ours_alone(folder: Path) -> bool:
    """Whether ``folder`` is a folder (no link to one) of this user, into which nobody else may look."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _stage(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return new
