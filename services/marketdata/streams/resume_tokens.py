"""Resume tokens of streams that follow several topics at once."""

from collections.abc import Mapping

from services.runtime.errors import ResumeTokenInvalid
from services.runtime.journal import is_offset


def encode(offsets: Mapping[str, str]) -> str:
    """A token for what follows ``offsets``, one for each channel by its name. It has some dozen bytes for each."""
    return ",".join(f"{name}:{offset}" for name, offset in offsets.items())


def decode(token: str, names: frozenset[str]) -> dict[str, str]:
    """The offsets inside ``token``; none where it is empty. Raises ResumeTokenInvalid unless it is one of ours."""
    parts = [part.split(":") for part in token.split(",")] if token else []
    if not all(len(part) == 2 and part[0] in names and is_offset(part[1]) for part in parts):
        raise ResumeTokenInvalid("resume_token is not one that this stream gave out; leave it empty to begin now")
    offsets = {part[0]: part[1] for part in parts}
    if len(offsets) < len(parts):
        raise ResumeTokenInvalid("resume_token names a channel twice; leave it empty to begin now")
    return offsets
