"""The comments of the contracts, which only an image with source information holds, and what they say of errors."""

import re
from collections.abc import Iterator, Mapping

from google.protobuf import descriptor_pb2

from gateway.openapi.statuses import HTTP_STATUSES

# Field numbers of FileDescriptorProto, DescriptorProto, EnumDescriptorProto and ServiceDescriptorProto.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _NESTED, _NESTED_ENUM = 2, 3, 4
_VALUE = 2
_METHOD = 2

_REASON = re.compile(rf"\b({'|'.join(HTTP_STATUSES)})\b|\b(ERROR_REASON_[A-Z_]+)")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")


def comments_of(image: descriptor_pb2.FileDescriptorSet) -> Mapping[str, str]:
    """Full name of a service, method, message, field, enum or value: its comment, a paragraph a line."""
    found = {}
    for file in image.file:
        by_path = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for name, path in _named(file):
            if comment := by_path.get(path):
                found[f"{file.package}.{name}"] = "\n\n".join(
                    " ".join(paragraph.split()) for paragraph in _PARAGRAPH.split(comment.strip())
                )
    return found


def reasons_of(comment: str) -> Mapping[str, list[str]]:
    """The statuses that the comment of a method names, each with its reasons (``ERROR_REASON_…``)."""
    found: dict[str, list[str]] = {}
    status = ""
    for match in _REASON.finditer(comment):
        if match[1]:
            status = match[1]
            found.setdefault(status, [])
        elif status:
            found[status].append(match[2])
    return found


def _named(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index, service in enumerate(file.service):
        yield service.name, (_SERVICE, index)
        for place, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (_SERVICE, index, _METHOD, place)
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, "", (_ENUM, index))
    for index, message in enumerate(file.message_type):
        yield from _message(message, "", (_MESSAGE, index))


def _message(
    message: descriptor_pb2.DescriptorProto, prefix: str, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    name = f"{prefix}{message.name}"
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, _FIELD, index)
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.", (*path, _NESTED_ENUM, index))
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, f"{name}.", (*path, _NESTED, index))


def _enum(
    enum: descriptor_pb2.EnumDescriptorProto, prefix: str, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    name = f"{prefix}{enum.name}"
    yield name, path
    for index, value in enumerate(enum.value):
        # By protobuf's rules a value's full name has no enum in it; here each enum keeps its own.
        yield f"{name}.{value.name}", (*path, _VALUE, index)
