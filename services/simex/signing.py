"""Who asks, and whether the request is fresh and unaltered."""

import hashlib
import hmac
import re
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import SecretStr

from services.simex import errors
from services.simex.clock import Clock, wall_ms
from services.simex.rest import Query, whole

_KEY = re.compile(r"^[A-Za-z0-9_-]{1,128}$")
_SIGNATURE = re.compile(r"(^|&)signature=([^&]*)")
_AHEAD_MS, _USUAL_WINDOW_MS, _WIDEST_WINDOW_MS = 1000, 5000, 60_000


class Credentials:
    """Checks signed requests against the account's key and secret; without them every request is refused."""

    def __init__(self, key: SecretStr | None, secret: SecretStr | None, clock: Clock) -> None:
        self._key = key
        self._secret = secret
        self._clock = clock

    async def check(self, request: web.Request) -> Query:
        """The parameters of a signed request; raises ApiError when key, signature or timestamp are wrong.

        The timestamp may be that of the exchange's clock or of the real one: a client's clock is the real one, and
        stays right while the exchange's runs faster.
        """
        self._check_key(request.headers.get("X-MBX-APIKEY", ""))
        sent = request.raw_path.partition("?")[2]
        body = await request.text() if request.method != "GET" else ""
        found = _SIGNATURE.findall(sent) + _SIGNATURE.findall(body)
        if len(found) != 1:
            raise errors.mandatory("signature")
        self._check_signature(_SIGNATURE.sub("", sent) + _SIGNATURE.sub("", body), found[0][1])
        query = dict(parse_qsl(sent, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))
        self._check_time(query)
        return query

    def _check_key(self, key: str) -> None:
        if not _KEY.match(key):
            raise errors.bad_key_format()
        if self._key is None or not hmac.compare_digest(key, self._key.get_secret_value()):
            raise errors.bad_key()

    def _check_signature(self, payload: str, signature: str) -> None:
        if self._secret is None:
            raise errors.bad_key()
        secret = self._secret.get_secret_value().encode()
        right = hmac.new(secret, payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right.encode(), signature.encode()):
            raise errors.bad_signature()

    def _check_time(self, query: Query) -> None:
        sent_ms, window_ms = whole(query, "timestamp"), whole(query, "recvWindow", _USUAL_WINDOW_MS) or 0
        if sent_ms is None:
            raise errors.mandatory("timestamp")
        if window_ms > _WIDEST_WINDOW_MS:
            raise errors.bad_recv_window()
        ages = [now_ms - sent_ms for now_ms in (wall_ms(), self._clock.now_ms())]
        if not any(-_AHEAD_MS < age <= window_ms for age in ages):
            raise errors.timestamp_ahead() if max(ages) < 0 else errors.bad_timestamp()
