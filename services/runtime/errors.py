"""Errors that callers are meant to see: a status, a stable reason, and words that say what to do.

Standard library only, so that domain code can raise them.
"""

from collections.abc import Mapping
from typing import ClassVar


class MeshError(Exception):
    """An error with a meaning for the caller. Its text is shown to the caller, so it holds no secret.

    ``status`` is the name of a ``grpc.StatusCode``; ``reason`` the name of a ``levimesh.common.v1.ErrorReason``
    without its prefix; ``metadata`` goes into the ErrorInfo; ``retry_after`` (seconds), if set for the kind of error or
    for this one, into a RetryInfo.
    """

    status: ClassVar[str]
    reason: ClassVar[str]
    retry_after: float | None = None

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.metadata = metadata


class InvalidArgument(MeshError):
    """The request can never succeed as it is."""

    status = "INVALID_ARGUMENT"


class NotFound(MeshError):
    """What the request names does not exist, or not for this caller."""

    status = "NOT_FOUND"


class AlreadyExists(MeshError):
    """What the request would create is there already, with other content."""

    status = "ALREADY_EXISTS"


class Aborted(MeshError):
    """Somebody else was faster; the caller has to read the state again before another try."""

    status = "ABORTED"


class FailedPrecondition(MeshError):
    """The state of the system forbids it; the caller has to change that first."""

    status = "FAILED_PRECONDITION"


class Unauthenticated(MeshError):
    """It is not known who calls."""

    status = "UNAUTHENTICATED"


class PermissionDenied(MeshError):
    """It is known who calls, and that is not enough."""

    status = "PERMISSION_DENIED"


class ResourceExhausted(MeshError):
    """Something is used up for now."""

    status = "RESOURCE_EXHAUSTED"


class Unavailable(MeshError):
    """A part is away for now; the same request may succeed later."""

    status = "UNAVAILABLE"


class FieldViolations(InvalidArgument):
    """Fields of a request break a rule; every one of them is named."""

    reason = "FIELD_VIOLATION"

    def __init__(self, violations: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field or 'request'}: {problem}" for field, problem in violations.items()))
        self.violations = dict(violations)


class PageTokenInvalid(InvalidArgument):
    """The page token was not given out by this method, or for other filters."""

    reason = "PAGE_TOKEN_INVALID"


class ResumeTokenInvalid(InvalidArgument):
    """The resume token was not given out by this stream."""

    reason = "RESUME_TOKEN_INVALID"


class SlowReaderCut(ResourceExhausted):
    """The reader of a stream fell behind further than is kept for it."""

    reason = "SLOW_READER"


class TooManyStreams(ResourceExhausted):
    """The caller has as many streams of this method open as the policy allows."""

    reason = "TOO_MANY_STREAMS"


class Overloaded(ResourceExhausted):
    """More calls are waiting than the service takes on."""

    reason = "OVERLOADED"
    retry_after = 1.0


class DependencyUnavailable(Unavailable):
    """A part that the service needs is away."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = 1.0


class ShuttingDown(Unavailable):
    """The service is stopping; its successor or another replica goes on."""

    reason = "SHUTTING_DOWN"
    retry_after = 0.5
