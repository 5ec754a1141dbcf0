"""Logs: one JSON object a line, with the trace id and without secrets."""

import logging
import re
import sys
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

call_fields: ContextVar[dict[str, str]] = ContextVar("call_fields", default={})  # noqa: B039 - never mutated, only replaced
"""What every line of a call says besides its own words: the method, the user."""

_NAMES = (  # at the end of a longer name too, with underscores or in camel case
    r"(?:password|passwd|secret|second_?factor|recovery_?codes?|otpauth_?uri|qr_?png|qr_?text|cookie|code_?verifier"
    r"|private_?key|encryption_?keys?|(?<!page)(?<!page_)(?<!resume)(?<!resume_)token|api[_-]?key|authorization)\b"
)
_SECRETS = re.compile(
    r"(?is)"
    r"(?P<url>(?<=://)[^/@\s:]*:[^/@\s]+(?=@))"  # user:password@ in URLs
    r"|(?P<jwt>\beyJ[\w-]+\.[\w-]+\.[\w-]+)"
    r"|(?P<field>(?:" + _NAMES + r"|\bcode(?=\W{1,6}(?:[0-9]{6}\b|[\w~.-]{20})))"
    r"(?:\\*[\"'])?\s*[:=]\s*)(?:b(?=[\"']))?"
    r"(?:(?P<quote>\\*[\"'])(?P<quoted_scheme>(?:bearer|basic)\s+)?(?:(?!(?P=quote))(?:\\.|.))*(?:(?P=quote)|$)"
    r"|\[[^\]]*\]"
    r"|(?P<scheme>(?:bearer|basic)\s+)?[^\s\"',;&}\\]+)"
)
_SECRET_NAME = re.compile(rf"(?i){_NAMES}$")
_REDACTED = "[redacted]"
_CHATTY = {"ccxt": logging.INFO, "sqlalchemy": logging.WARNING}
"""Libraries that tell whole requests and rows when they are let: credentials and other people's data are in them."""


def redact(text: str) -> str:
    """``text`` with everything that looks like a credential replaced by ``[redacted]``."""
    return _SECRETS.sub(_without_secret, text)


def _without_secret(found: re.Match[str]) -> str:
    quote, scheme = found["quote"] or "", found["quoted_scheme"] or found["scheme"] or ""
    return f"{found['field'] or ''}{quote}{scheme}{_REDACTED}{quote}"


def _clean(value: Any) -> Any:
    """``value`` as it may be logged, in as much detail as JSON has."""
    match value:
        case dict():
            return {name: _REDACTED if _SECRET_NAME.search(str(name)) else _clean(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(each) for each in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return redact(str(value))


class _Formatter(JsonFormatter):
    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Redact before it becomes JSON, whose escapes would hide where a secret ends."""
        cleaned: dict[str, Any] = _clean(log_data)
        return cleaned


class _CallFilter(logging.Filter):
    """Adds what is known about the call in whose course the line is written."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in call_fields.get().items():
            setattr(record, name, value)
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            record.trace_id = trace.format_trace_id(context.trace_id)
        return True


def configure(service: str, level: str = "INFO") -> None:
    """Send the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_CallFilter())
    handler.setFormatter(
        _Formatter(
            "%(message)s",
            timestamp=True,
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*(set(vars(logging.makeLogRecord({}))) - {"levelname", "name"}), "taskName"],
            static_fields={"service": service},
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _CHATTY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)
