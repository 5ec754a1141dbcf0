"""Messages and enums as JSON Schema, the way the gateway's transcoder reads and writes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.openapi.rules import constrain, constrain_list, constrain_map, is_required, rules_of

Schema = dict[str, Any]

_INTEGER_TEXT: Schema = {"type": "string", "pattern": "^-?[0-9]+$"}
_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**32 - 1},
    # JavaScript's numbers cannot hold 64 bits.
    FieldDescriptor.TYPE_INT64: {**_INTEGER_TEXT, "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "pattern": "^[0-9]+$", "format": "uint64"},
    FieldDescriptor.TYPE_DOUBLE: {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
    FieldDescriptor.TYPE_FLOAT: {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, with commas between them."},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
}
_STATUS = "google.rpc.Status"
_OUTSIDE = {
    "google.type.Decimal": "A decimal number as text, so that nothing of it is lost.",
    "google.type.Decimal.value": "The number, for example `0.25`.",
    _STATUS: "An error. Its details hold a google.rpc.ErrorInfo, by whose `reason` a program decides.",
    "google.rpc.Status.code": "A google.rpc.Code.",
    "google.rpc.Status.message": "What is wrong, and what to do about it.",
    "google.rpc.Status.details": "google.rpc.ErrorInfo, google.rpc.BadRequest, google.rpc.RetryInfo.",
}
"""What messages that are not ours are for; their comments are written for others."""


def is_well_known(message: Descriptor) -> bool:
    """Whether ``message`` is written as something else than an object of its fields."""
    return message.full_name in _WELL_KNOWN


class Schemas:
    """Collects the schemas that a document refers to."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = {**comments, **_OUTSIDE}
        self._found: dict[str, Schema] = {}
        self._messages: dict[str, Descriptor] = {}
        self._asked: set[str] = set()

    def describe(self, name: str) -> Schema:
        """The comment of what has this full name, as a description."""
        comment = self._comments.get(name)
        return {"description": comment} if comment else {}

    def request(self, message: Descriptor, *, without: frozenset[str] = frozenset()) -> Schema:
        """The schema of a request's body, whose fields ``without`` stand elsewhere."""
        self._mark_asked(message)
        if not without:
            return self.message(message)
        fields = [field for field in message.fields if field.name not in without]
        return {**self._object(fields, asked=True), **self.describe(message.full_name)}

    def message(self, message: Descriptor) -> Schema:
        """A reference to the schema of ``message``."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        if message.full_name not in self._messages:
            self._messages[message.full_name] = message
            for field in message.fields:
                self.field(field)
        return {"$ref": f"#/components/schemas/{message.full_name}"}

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value, with its rules and its comment."""
        rules = rules_of(field)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = self.field(field.message_type.fields_by_name["value"])
            found = constrain_map({"type": "object", "additionalProperties": values}, rules.map)
        elif field.is_repeated:
            items = constrain(self._value(field), rules.repeated.items, field.enum_type)
            found = constrain_list({"type": "array", "items": items}, rules.repeated)
        else:
            return constrain({**self._value(field), **self.describe(field.full_name)}, rules, field.enum_type)
        return {**found, **self.describe(field.full_name)}

    def components(self) -> dict[str, Schema]:
        """Every schema that was referred to."""
        for name, message in self._messages.items():
            asked = name in self._asked
            self._found[name] = {**self._object(message.fields, asked=asked), **self.describe(name)}
        return dict(sorted(self._found.items()))

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _enum(self, enum: EnumDescriptor) -> Schema:
        names = [value.name for value in enum.values]
        meanings = [(name, self._comments.get(f"{enum.full_name}.{name}", "")) for name in names]
        self._found[enum.full_name] = {
            "type": "string",
            "enum": names,
            "description": "\n".join(
                [self._comments.get(enum.full_name, ""), "", *(f"- `{name}`: {text}" for name, text in meanings)]
            ),
        }
        return {"$ref": f"#/components/schemas/{enum.full_name}"}

    def _object(self, fields: Sequence[FieldDescriptor], *, asked: bool) -> Schema:
        properties = {field.name: self.field(field) for field in fields}
        required = [field.name for field in fields if (is_required(field) if asked else not field.has_presence)]
        found: Schema = {"type": "object", "properties": properties}
        return {**found, "required": required} if required else found

    def _mark_asked(self, message: Descriptor) -> None:
        """``message`` and what it holds are sent by clients, who leave out what they like."""
        if message.full_name not in self._asked and not is_well_known(message):
            self._asked.add(message.full_name)
            for field in message.fields:
                if field.message_type is not None:
                    self._mark_asked(field.message_type)
