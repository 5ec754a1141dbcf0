"""Second factors: codes of an authenticator, and the recovery codes that replace them."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

RECOVERY_CODES = 10
_BYTES = 10
_CODE = re.compile(r"[0-9]{6}")


class CodeUse(Enum):
    """What became of somebody's attempt to use a code."""

    RIGHT = auto()
    """It is used up now."""
    AGAIN = auto()
    """It was right once, and was used before: nothing that somebody guessed."""
    WRONG = auto()


@dataclass(frozen=True, repr=False)
class Enrolment:
    """The authenticator of a user."""

    secret: str
    """What it makes its codes from, in base32."""
    confirmed: bool
    """Whether the user has proved that the authenticator has the secret; it counts only then."""


def is_authenticator_code(text: str) -> bool:
    """Whether ``text`` looks like a code of an authenticator, and not like a recovery code."""
    return _CODE.fullmatch(text) is not None


def new_recovery_codes(random_bytes: Callable[[int], bytes]) -> list[str]:
    """Codes of 80 bits each, such as ``ABCD-EFGH-JKMN-PQ23``."""
    codes = (base64.b32encode(random_bytes(_BYTES)).decode() for _ in range(RECOVERY_CODES))
    return ["-".join(re.findall("....", code)) for code in codes]


def recovery_code_hash(code: str) -> bytes:
    """What is kept of a recovery code, which is too long to be guessed from it; dashes and case do not matter."""
    return hashlib.sha256(re.sub(r"[\s-]", "", code).upper().encode()).digest()
