"""Writes ``docs/errors.md`` from the comments of the ErrorReason enum.

buf build --path proto/levimesh/common -o - | python -m docs.generate_errors docs/errors.md
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import descriptor_pb2

_HTTP = {
    "INVALID_ARGUMENT": "400",
    "FAILED_PRECONDITION": "400",
    "UNAUTHENTICATED": "401",
    "PERMISSION_DENIED": "403",
    "NOT_FOUND": "404",
    "ALREADY_EXISTS": "409",
    "ABORTED": "409",
    "RESOURCE_EXHAUSTED": "429",
    "INTERNAL": "500",
    "UNIMPLEMENTED": "501",
    "UNAVAILABLE": "503",
    "DEADLINE_EXCEEDED": "504",
}
"""What a gRPC status becomes over REST (the comments of google.rpc.Code), unless a reason says otherwise."""

_COMMENT = re.compile(r"(?P<status>[A-Z_]+)(?: \((?P<http>[^()]+) over REST\))?: (?P<meaning>.+)")
_ENUM, _VALUE = 5, 2  # field numbers of FileDescriptorProto.enum_type and EnumDescriptorProto.value

_HEAD = """\
# Errors

Generated from [`error_reason.proto`](../proto/levimesh/common/v1/error_reason.proto) by `make gen`.

An error is a gRPC status with a `google.rpc.ErrorInfo` of the domain `levimesh`: its `reason` is what a program decides
by, its `metadata` holds the values behind the message. `google.rpc.BadRequest` names every wrong field, and
`google.rpc.RetryInfo` says when another try makes sense. Over REST the body is the same `google.rpc.Status` as JSON.
Each RPC's comment in [`proto/`](../proto/levimesh) lists the reasons that are its own.

| reason (`ERROR_REASON_…`) | gRPC status | HTTP | meaning |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Reason:
    """One row of the table."""

    name: str
    """Without ``ERROR_REASON_``."""
    status: str
    http: str
    meaning: str

    @classmethod
    def parse(cls, name: str, comment: str) -> "Reason":
        """What ``STATUS: meaning.`` or ``STATUS (404 over REST): meaning.`` says. Raises ValueError."""
        match = _COMMENT.fullmatch(" ".join(comment.split()))
        if match is None or match["status"] not in _HTTP:
            raise ValueError(f"the comment of {name} has to begin with a gRPC status and a colon: {comment.strip()!r}")
        status, meaning = match["status"], match["meaning"]
        return cls(
            name.removeprefix("ERROR_REASON_"), status, match["http"] or _HTTP[status], meaning[0].upper() + meaning[1:]
        )


def reasons(files: descriptor_pb2.FileDescriptorSet) -> Iterator[Reason]:
    """Every reason that is ever sent, in the order of the contract."""
    (file,) = (file for file in files.file if file.name.endswith("/error_reason.proto"))
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for index, value in enumerate(file.enum_type[0].value):
        if value.number:
            yield Reason.parse(value.name, comments.get((_ENUM, 0, _VALUE, index), ""))


def page(files: descriptor_pb2.FileDescriptorSet) -> str:
    """The whole page."""
    rows = (f"| `{each.name}` | {each.status} | {each.http} | {each.meaning} |\n" for each in reasons(files))
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(descriptor_pb2.FileDescriptorSet.FromString(sys.stdin.buffer.read())))
