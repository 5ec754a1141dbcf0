"""Opaque page tokens, good only for the method and the filters that they were given out for."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime

from google.protobuf.message import Message

from services.runtime.errors import PageTokenInvalid

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
"""As many as PostgreSQL can count."""
_NOT_OURS = "page_token is not from this listing; send the next_page_token of its last page, or none"


def encode_page_token(position: Sequence[str], filters: Message) -> str:
    """A token for the page after ``position`` of the listing that the request ``filters`` asked for."""
    return base64.urlsafe_b64encode(json.dumps([_digest(filters), *position]).encode()).decode()


def decode_page_token(token: str, filters: Message) -> list[str]:
    """The position inside ``token``. Raises PageTokenInvalid when it is not a token for this listing."""
    try:
        digest, *position = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        genuine = digest == _digest(filters) and all(map(_is_text, position))
    except (binascii.Error, ValueError, TypeError):
        genuine = False
    if not genuine:
        raise PageTokenInvalid(_NOT_OURS)
    return [str(part) for part in position]


def decode_number(token: str, filters: Message) -> int | None:
    """The number, from 1 on, that is the position inside ``token``; None without a token. Raises PageTokenInvalid."""
    if not token:
        return None
    match decode_page_token(token, filters):
        case [number] if _NUMBER.fullmatch(number):
            return int(number)
    raise PageTokenInvalid(_NOT_OURS)


def decode_time(token: str, filters: Message) -> datetime:
    """The moment that is the position inside ``token``. Raises PageTokenInvalid."""
    match decode_page_token(token, filters):
        case [position]:
            return _moment(position)
    raise PageTokenInvalid(_NOT_OURS)


def decode_time_and_id(token: str, filters: Message) -> tuple[datetime, str] | None:
    """The moment and the id that are the position inside ``token``; None without a token. Raises PageTokenInvalid."""
    if not token:
        return None
    match decode_page_token(token, filters):
        case [position, identifier]:
            return _moment(position), identifier
    raise PageTokenInvalid(_NOT_OURS)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PageTokenInvalid(_NOT_OURS) from error
    if moment.tzinfo is None:
        raise PageTokenInvalid(_NOT_OURS)
    return moment


def _is_text(part: object) -> bool:
    """Whether ``part`` is something that PostgreSQL can compare texts with."""
    return isinstance(part, str) and "\0" not in part and part.encode() is not None


def _digest(filters: Message) -> str:
    """A short hash of the method's request without its paging fields."""
    bare = type(filters)()
    bare.CopyFrom(filters)
    for field in ("page_token", "page_size"):
        bare.ClearField(field)
    content = bare.DESCRIPTOR.full_name.encode() + bare.SerializeToString(deterministic=True)
    return hashlib.sha256(content).hexdigest()[:16]
