"""Methods as operations: where each is served, what it takes and what it answers."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import MessageToDict

from gateway.openapi.comments import reasons_of
from gateway.openapi.forms import FORMS
from gateway.openapi.schemas import Schemas, is_well_known
from gateway.openapi.statuses import error_responses
from levimesh.policy.v1 import policy_pb2
from services.runtime.policy import effective_policy

Schema = dict[str, Any]

_VARIABLE = re.compile(r"\{([a-z_.]+)(?:=[^}]*)?\}")


@dataclass(frozen=True)
class Binding:
    """One place at which a method is served."""

    method: MethodDescriptor
    verb: str
    path: str
    body: str
    number: int
    """0 for the first place, 1 for the next one, …"""

    @property
    def path_fields(self) -> list[str]:
        """The fields that stand in the path."""
        return _VARIABLE.findall(self.path)


def bindings(method: MethodDescriptor) -> Iterator[Binding]:
    """Every place at which ``method`` is served over REST."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for number, each in enumerate([rule, *rule.additional_bindings]):
        verb = each.WhichOneof("pattern")
        path = _VARIABLE.sub(r"{\1}", getattr(each, verb))
        yield Binding(method, verb, path, each.body, number)


def operation(binding: Binding, schemas: Schemas, comment: str) -> Schema:
    """The operation of ``binding``."""
    method = binding.method
    summary = comment.split("\n")[0].split(". ")[0].split(": ")[0].removeprefix(f"{method.name} ").rstrip(".")
    found: Schema = {
        "tags": [method.containing_service.name],
        "operationId": f"{method.containing_service.name}_{method.name}"
        + (str(binding.number + 1) * bool(binding.number)),
        "summary": summary[:1].upper() + summary[1:],
        "description": comment,
        "x-levimesh-policy": _policy(method),
    }
    if parameters := list(_parameters(binding, schemas)):
        found["parameters"] = parameters
    if binding.body:
        found["requestBody"] = _request_body(binding, schemas)
    found["responses"] = {
        **_success(binding, schemas),
        **error_responses(method, bool(binding.path_fields), reasons_of(comment)),
        **(FORMS[method.full_name].responses if method.full_name in FORMS else {}),
    }
    found["security"] = _security(method)
    return found


def _parameters(binding: Binding, schemas: Schemas) -> Iterator[Schema]:
    request = binding.method.input_type
    for name in binding.path_fields:
        field = request.fields_by_name[name]
        schema = schemas.field(field)
        # An empty segment of a path is another path.
        schema.setdefault("minLength", 1)
        description = schema.pop("description", "")
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}
    if binding.body != "*":
        elsewhere = {*binding.path_fields, binding.body}
        yield from _query(request, "", elsewhere, schemas)


def _query(message: Descriptor, prefix: str, elsewhere: set[str], schemas: Schemas) -> Iterator[Schema]:
    for field in message.fields:
        name = f"{prefix}{field.name}"
        if name in elsewhere:
            continue
        if _is_nested(field):
            yield from _query(_message(field), f"{name}.", elsewhere, schemas)
        else:
            schema = schemas.field(field)
            description = schema.pop("description", "")
            yield {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _is_nested(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not is_well_known(field.message_type) and not field.is_repeated


def _message(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None  # noqa: S101 - the caller has looked, or buf has
    return field.message_type


def _request_body(binding: Binding, schemas: Schemas) -> Schema:
    request = binding.method.input_type
    if form := FORMS.get(binding.method.full_name):
        return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form.request}}}
    if binding.body == "*":
        schema = schemas.request(request, without=frozenset(binding.path_fields))
    else:
        schema = schemas.request(_message(request.fields_by_name[binding.body]))
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _success(binding: Binding, schemas: Schemas) -> Schema:
    method = binding.method
    if form := FORMS.get(method.full_name):
        return {"200": form.success}
    answer = {"schema": schemas.message(method.output_type)}
    if not method.server_streaming:
        return {"200": {"description": "Done.", "content": {"application/json": answer}}}
    description = (
        "A stream: one JSON object a line, or server-sent events for `accept: text/event-stream`. "
        "It ends with an `end` that says why, when it does not simply go on."
    )
    return {"200": {"description": description, "content": {"application/json": answer, "text/event-stream": answer}}}


def _security(method: MethodDescriptor) -> list[Mapping[str, list[str]]]:
    policy = method.GetOptions().Extensions[policy_pb2.method]
    if policy.public:
        return []
    return [{"bearer": []}, {"apiKey": []}] if policy.scopes else [{"bearer": []}]


def _policy(method: MethodDescriptor) -> Schema:
    """The policy as it is enforced."""
    found: Schema = MessageToDict(effective_policy(method), preserving_proto_field_name=True)
    return found
