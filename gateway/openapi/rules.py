"""The field rules of the contracts (``buf.validate``) as constraints of JSON Schema."""

from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson

from buf.validate import validate_pb2

Schema = dict[str, Any]

_FORMATS = {"uuid": "uuid", "email": "email", "ipv4": "ipv4", "ipv6": "ipv6", "hostname": "hostname", "uri": "uri"}
_NUMBERS = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "float", "double")
_BOUNDS = {"gte": "minimum", "gt": "exclusiveMinimum", "lte": "maximum", "lt": "exclusiveMaximum"}
_BITS_64 = ("int64", "uint64", "sint64")


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The rules of ``field``; empty ones when it has none."""
    return field.GetOptions().Extensions[validate_pb2.field]


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request without ``field`` is refused."""
    rules = rules_of(field)
    if rules.required:
        return True
    if field.has_presence or rules.ignore != validate_pb2.IGNORE_UNSPECIFIED:
        return False
    string = rules.string
    return bool(
        string.min_len
        or string.uuid
        or string.pattern.startswith("^")
        or string.HasField("const")
        or rules.repeated.min_items
        or 0 in rules.enum.not_in
        or any(_refuses_zero(getattr(rules, kind)) for kind in _NUMBERS)
    )


def constrain(schema: Schema, rules: validate_pb2.FieldRules, enum: EnumDescriptor | None = None) -> Schema:
    """``schema`` of one value, one of ``enum`` if that is given, within ``rules``."""
    kind = rules.WhichOneof("type")
    constraints: Schema = {}
    notes = [rule.message or rule.expression for rule in rules.cel]
    if kind == "string":
        constraints = _string(rules.string)
    elif kind in _NUMBERS:
        notes += _number(getattr(rules, kind), kind, constraints)
    elif enum is not None and rules.enum.not_in:
        constraints = {"not": {"enum": [enum.values_by_number[number].name for number in rules.enum.not_in]}}
    elif kind == "duration":
        notes += _duration(rules.duration)
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE and constraints:
        constraints = {"anyOf": [constraints, {"const": ""}]}
    found = {**schema, **constraints}
    if notes:
        found["description"] = " ".join([*filter(None, [schema.get("description")]), f"({'; '.join(notes)})"])
    return found


def constrain_list(schema: Schema, rules: validate_pb2.RepeatedRules) -> Schema:
    """``schema`` of a list, within ``rules``; those of its entries stand with them."""
    found = dict(schema)
    if rules.HasField("min_items"):
        found["minItems"] = rules.min_items
    if rules.HasField("max_items"):
        found["maxItems"] = rules.max_items
    if rules.unique:
        found["uniqueItems"] = True
    return found


def constrain_map(schema: Schema, rules: validate_pb2.MapRules) -> Schema:
    """``schema`` of a map, within ``rules``."""
    found = dict(schema)
    if rules.HasField("min_pairs"):
        found["minProperties"] = rules.min_pairs
    if rules.HasField("max_pairs"):
        found["maxProperties"] = rules.max_pairs
    return found


def _string(rules: validate_pb2.StringRules) -> Schema:
    found: Schema = {}
    if rules.HasField("len"):
        found |= {"minLength": rules.len, "maxLength": rules.len}
    if rules.HasField("min_len"):
        found["minLength"] = rules.min_len
    if rules.HasField("max_len"):
        found["maxLength"] = rules.max_len
    if rules.HasField("pattern"):
        found["pattern"] = rules.pattern
    if rules.HasField("const"):
        found["const"] = rules.const
    if list(getattr(rules, "in")):
        found["enum"] = list(getattr(rules, "in"))
    known = rules.WhichOneof("well_known")
    if known in _FORMATS:
        found["format"] = _FORMATS[known]
    return found


def _number(rules: Any, kind: str, constraints: Schema) -> list[str]:
    """64-bit integers are strings in JSON, so that their bounds can only be told in words."""
    notes = []
    for bound, keyword in _BOUNDS.items():
        if rules.HasField(bound):
            if kind in _BITS_64:
                notes.append(f"{keyword} {getattr(rules, bound)}")
            else:
                constraints[keyword] = getattr(rules, bound)
    return notes


def _duration(rules: validate_pb2.DurationRules) -> list[str]:
    bounds: Any = rules
    return [f"{word} {_text(getattr(bounds, name))}" for name, word in _BOUNDS.items() if bounds.HasField(name)]


def _text(duration: Duration) -> str:
    return MessageToJson(duration).strip('"')


def _refuses_zero(rules: Any) -> bool:
    return bool((rules.HasField("gt") and rules.gt >= 0) or rules.gte > 0)
