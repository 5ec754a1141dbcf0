"""Codes of authenticators (RFC 6238) by pyotp."""

from datetime import datetime

import pyotp


class PyotpCodes:
    """Six digits from SHA-1 every thirty seconds: what every authenticator can do."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def new_secret(self) -> str:
        return pyotp.random_base32()

    def uri(self, secret: str, username: str) -> str:
        return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=self._issuer)

    def step(self, secret: str, code: str, now: datetime) -> int | None:
        try:
            return pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=now, valid_window=1)
        except pyotp.OTPVerificationError:
            return None
