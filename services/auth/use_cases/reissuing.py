"""Tokens for calls that bring something else: while nothing has changed, the same token for many calls."""

from datetime import datetime, timedelta

from services.auth.domain.tokens import AccessToken, Grant
from services.auth.ports.sessions import Tokens

_REMAINING = timedelta(seconds=60)


class ReissuedTokens:
    """Issues a token for a grant, and gives it again until a minute before it expires. It remembers only so many."""

    def __init__(self, tokens: Tokens, *, remember: int = 10_000) -> None:
        self._tokens = tokens
        self._remember = remember
        self._issued: dict[Grant, tuple[datetime, AccessToken]] = {}

    def issue(self, grant: Grant, now: datetime) -> AccessToken:
        """A token that says what ``grant`` says."""
        known = self._issued.get(grant)
        if known is not None and now < known[0]:
            return known[1]
        token = self._tokens.issue(grant, now)
        if len(self._issued) >= self._remember:
            self._issued = {each: issued for each, issued in self._issued.items() if now < issued[0]}
        if len(self._issued) >= self._remember:
            self._issued.clear()
        self._issued[grant] = (now + timedelta(seconds=token.seconds) - _REMAINING, token)
        return token
