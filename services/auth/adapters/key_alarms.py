"""Alarms about API keys, in the audit chain."""

from datetime import datetime, timedelta

from services.auth.domain.api_keys import ApiKey
from services.runtime.audit import AuditLog, Outcome

_AGAIN_AFTER = timedelta(minutes=1)
_REMEMBERED = 10_000


class AuditedAlarms:
    """Records the same alarm once in a minute: whoever tries all day must not fill the chain."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._told: dict[tuple[str, str], datetime] = {}

    async def elsewhere(self, key: ApiKey, address: str, now: datetime) -> None:
        told = self._told.get((key.key_id, address))
        if told is not None and now - told < _AGAIN_AFTER:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[key.key_id, address] = now
        await self._audit.record(
            "api_key_address_refused",
            actor=key.user_id,
            outcome=Outcome.DENIED,
            status="PERMISSION_DENIED ADDRESS_NOT_ALLOWED",
            session_id=key.key_id,
            address=address,
            subject={"api_key": key.key_id},
        )
