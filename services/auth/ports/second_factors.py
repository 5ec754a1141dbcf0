"""Second factors."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from services.auth.domain.totp import CodeUse, Enrolment


class Authenticators(Protocol):
    """Where the authenticators of users are kept, encrypted, with the recovery codes that replace them."""

    async def begin(self, user_id: str, secret: str) -> None:
        """Keep ``secret``, not confirmed, in place of one that was not confirmed either. Raises TotpEnrolled."""

    async def of(self, user_id: str) -> Enrolment | None:
        """The authenticator of the user, confirmed or not."""

    async def confirm(self, user_id: str, secret: str, step: int, code_hashes: Collection[bytes]) -> bool:
        """The authenticator with ``secret`` counts from now on, and the code of ``step`` is used up.

        False when it is confirmed already, or another one was begun meanwhile.
        """

    async def use_step(self, user_id: str, step: int) -> bool:
        """Use the code of the time step up; False when it, or a later one, was used. Of several uses at once one is."""

    async def use_recovery_code(self, user_id: str, code_hash: bytes) -> CodeUse:
        """Use a recovery code up. Of several uses at once one is right."""

    async def remove(self, user_id: str) -> None:
        """Forget the authenticator of the user and the recovery codes, if there are any."""


class Codes(Protocol):
    """What an authenticator computes (RFC 6238)."""

    def new_secret(self) -> str:
        """A secret for a new authenticator, in base32."""

    def uri(self, secret: str, username: str) -> str:
        """What an authenticator opens to learn the secret."""

    def step(self, secret: str, code: str, now: datetime) -> int | None:
        """The time step of ``code``: that of ``now``, or the one before or after. None when the code is wrong."""
