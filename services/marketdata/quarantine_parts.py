"""Puts together where rows go that broke a rule."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.adapters.quarantine import PostgresQuarantine
from services.marketdata.feeding.quarantine_recorder import QuarantineMetrics, QuarantineRecorder
from services.runtime.clock import utc_now

_QUARANTINE_KEPT = timedelta(days=90)


def open_quarantine(engine: AsyncEngine) -> QuarantineRecorder:
    """The quarantine of this process; its ``run`` and ``drop_expired`` have to run in the background."""
    return QuarantineRecorder(PostgresQuarantine(engine), QuarantineMetrics(), _QUARANTINE_KEPT, utc_now)
