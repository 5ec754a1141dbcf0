"""Logs: one JSON object a line, with the trace id and without secrets."""

import logging
import re
import sys
from contextvars import ContextVar

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

call_fields: ContextVar[dict[str, str]] = ContextVar("call_fields", default={})  # noqa: B039 - never mutated, only replaced
"""What every line of a call says besides its own words: the method, the user."""

_SECRETS = re.compile(
    r"(?i)"
    r"(?P<url>(?<=://)[^/@\s:]*:[^/@\s]+(?=@))"  # user:password@ in URLs
    r"|(?P<jwt>\beyJ[\w-]+\.[\w-]+\.[\w-]+)"
    r"|(?P<field>(?:\b|_)(?:password|passwd|secret|(?<!page_)(?<!resume_)token|api[_-]?key|authorization)\b"
    r"(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?(?:(?:bearer|basic)\s+)?)[^\s\"',}\\]+"
)


def redact(text: str) -> str:
    """``text`` with everything that looks like a credential replaced by ``[redacted]``."""
    return _SECRETS.sub(lambda found: (found["field"] or "") + "[redacted]", text)


class _Formatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


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
    logging.captureWarnings(capture=True)
