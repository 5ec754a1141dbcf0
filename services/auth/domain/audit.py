"""The audit chain: each event is tied to the one before by a hash, and the newest hash is anchored elsewhere.

The hash of an event is the SHA-256 of a JSON array: ASCII without any space, names sorted, characters beyond ASCII as
\\uXXXX in lower case, times in microseconds since 1970. It holds, in this order: the version of this form, the hash of
the event before in hexadecimal (64 zeros for the first), the sequence number, and the fields of AuditEvent.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

_FORM = "levimesh-audit-1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
NO_HASH = bytes(32)
"""What stands for the hash before the first event."""


class Outcome(StrEnum):
    """What became of what was tried."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that was done, or tried. The order of the fields is that of the hashed form."""

    event_id: str
    event_time: datetime
    service: str
    action: str
    actor: str
    session_id: str
    address: str
    outcome: str
    """One of Outcome."""
    status: str
    subject: Mapping[str, str]
    trace_id: str


@dataclass(frozen=True, slots=True)
class Link:
    """An event at its place in the chain."""

    sequence: int
    event: AuditEvent
    hash: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the newest link was at some time, remembered outside the database."""

    sequence: int
    hash: bytes
    time: datetime


class AnchorsUnreadable(Exception):
    """The anchors are not as they were written; the message says where."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the whole chain has found."""

    checked: int
    head: bytes
    """The hash of the newest link."""
    anchor_time: datetime | None
    """When the newest anchor was written."""
    broken_at: int = 0
    """The first sequence number at which something is wrong; 0 when nothing is."""
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Whether every event is as it was written, and none is missing."""
        return self.broken_at == 0


def link_hash(previous: bytes, sequence: int, event: AuditEvent) -> bytes:
    """The hash of ``event`` at its place after the link whose hash is ``previous``."""
    content = (
        _FORM,
        previous.hex(),
        sequence,
        event.event_id,
        (event.event_time - _EPOCH) // _MICROSECOND,
        event.service,
        event.action,
        event.actor,
        event.session_id,
        event.address,
        event.outcome,
        event.status,
        event.subject,
        event.trace_id,
    )
    return hashlib.sha256(_canonical(content).encode()).digest()


class Verification:
    """Checks the links of a chain one after another, and the anchors, which come in the order of their numbers."""

    def __init__(self, anchors: Iterator[Anchor]) -> None:
        self._last = 0
        self._hash = self._head = NO_HASH
        self._checked = 0
        self._break: tuple[int, str] | None = None
        self._suspect: Link | None = None
        self._anchors = anchors
        self._passed: Anchor | None = None
        self._anchor = self._take_anchor()

    def check(self, link: Link) -> None:
        """Look at the next link as the database orders them."""
        self._checked += 1
        self._head = link.hash
        if self._break is not None:
            self._look_for_the_right_one(link)
            return
        expected = self._last + 1
        if link.sequence > expected:
            many = "" if link.sequence == expected + 1 else f" to {link.sequence - 1}"
            self._broken(expected, f"missing: event {expected}{many} is not there")
        elif link.sequence < expected:
            self._broken(expected, f"out of order: another event {link.sequence} stands after event {self._last}")
        elif not _fits(self._hash, link.sequence, link.event, link.hash):
            self._broken(expected, f"changed: event {expected} and its hash do not belong together here")
            self._suspect = link
        else:
            self._last, self._hash = link.sequence, link.hash
            self._compare_with_anchors()

    def verdict(self) -> Verdict:
        """What was found; after the last link."""
        if self._break is None and self._anchor is not None:
            self._broken(
                self._last + 1,
                f"truncated: the chain ends after event {self._last}, "
                f"and at {_told(self._anchor.time)} it went on to event {self._anchor.sequence} at least",
            )
        while self._anchor is not None:
            self._next_anchor()
        anchored = None if self._passed is None else self._passed.time
        at, problem = self._break or (0, "")
        return Verdict(self._checked, self._head, anchored, at, problem)

    def _compare_with_anchors(self) -> None:
        while self._anchor is not None and self._anchor.sequence <= self._last:
            if self._anchor.sequence < self._last:
                self._broken(self._anchor.sequence, "the anchors are not in order: the file of anchors was changed")
            elif self._anchor.hash != self._hash:
                since = "" if self._passed is None else f", after event {self._passed.sequence}"
                self._broken(
                    self._last,
                    f"rewritten: event {self._last} has another hash than at {_told(self._anchor.time)}; "
                    f"it or events before it{since} were changed together with all hashes",
                )
            self._next_anchor()

    def _next_anchor(self) -> None:
        self._passed, self._anchor = self._anchor, self._take_anchor()

    def _take_anchor(self) -> Anchor | None:
        try:
            return next(self._anchors, None)
        except AnchorsUnreadable as error:
            self._broken(self._last + 1, f"not proved from here on: {error}")
            return None

    def _look_for_the_right_one(self, link: Link) -> None:
        """Whether ``link`` is the event that belongs where the chain is broken by another one."""
        if self._suspect is None or self._break is None:
            return
        at, _ = self._break
        if _fits(self._hash, at, link.event, link.hash, self._suspect.hash):
            self._break = at, f"out of order: the event that belongs at {at} stands at {link.sequence}"
            self._suspect = None

    def _broken(self, at: int, problem: str) -> None:
        if self._break is None:
            self._break = at, problem


def _fits(previous: bytes, sequence: int, event: AuditEvent, *hashes: bytes) -> bool:
    """Whether the hash of ``event`` is one of ``hashes``; never that of one that cannot be, such as without a time."""
    try:
        return link_hash(previous, sequence, event) in hashes
    except (TypeError, ValueError, OverflowError):
        return False


def _told(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
