"""The document as a whole."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import chain
from typing import Any

import yaml
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import status_pb2

from gateway.contracts import SERVICES, WORKLOAD
from gateway.openapi.comments import comments_of
from gateway.openapi.operations import bindings, operation
from gateway.openapi.schemas import Schemas
from gateway.openapi.statuses import ERROR, LIMIT_HEADERS, common_responses
from levimesh.policy.v1 import policy_pb2

Schema = dict[str, Any]

_DESCRIPTION = """\
What the gateway of a LeviMesh serves over REST. The same methods are served over gRPC and gRPC-Web; the contracts in
`proto/` are the source of both, and of this document.

Names of fields are those of the contracts. 64-bit integers and decimal numbers are text, times are RFC 3339, durations
are seconds such as `1.5s`. An error has the body of a google.rpc.Status, and a program decides by the `reason` of the
google.rpc.ErrorInfo among its details. `x-levimesh-policy` is the policy of each method as it is enforced.
"""
_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token, from `POST /v1/auth/login` or `POST /oauth2/token`.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The secret of an API key, from `POST /v1/api-keys`.",
    },
}
_HEALTH = {
    "get": {
        "tags": ["Gateway"],
        "operationId": "Gateway_Health",
        "summary": "Whether every service has a healthy replica",
        "responses": {
            "200": {
                "description": "It has.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"status": {"const": "ok"}},
                            "required": ["status"],
                        }
                    }
                },
            },
            "503": {"description": "It has not.", "content": ERROR},
        },
        "security": [],
    }
}


def document(image: descriptor_pb2.FileDescriptorSet) -> Schema:
    """The document; ``image`` holds the contracts with their comments."""
    comments = comments_of(image)
    schemas = Schemas(comments)
    schemas.message(status_pb2.Status.DESCRIPTOR)
    paths = _paths(schemas, comments)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "LeviMesh",
            "version": version("levimesh"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": list(_tags(comments)),
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": _SECURITY_SCHEMES,
            "headers": {
                name: {"description": meaning, "schema": {"type": "integer"}} for name, meaning in LIMIT_HEADERS.items()
            },
            "responses": common_responses(),
        },
    }


def as_yaml(content: Schema) -> str:
    """``content`` as text, the same for the same contracts."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _exposed() -> Iterator[MethodDescriptor]:
    for service in chain.from_iterable(SERVICES.values()):
        for method in service.methods:
            if WORKLOAD in method.GetOptions().Extensions[policy_pb2.method].callers:
                yield method


def _paths(schemas: Schemas, comments: Mapping[str, str]) -> Schema:
    paths: Schema = {"/health": _HEALTH}
    for method in _exposed():
        for binding in bindings(method):
            place = paths.setdefault(binding.path, {})
            place[binding.verb] = operation(binding, schemas, comments.get(method.full_name, ""))
    return paths


def _tags(comments: Mapping[str, str]) -> Iterator[Schema]:
    yield {"name": "Gateway", "description": "What the gateway answers by itself."}
    for service in chain.from_iterable(SERVICES.values()):
        yield {"name": service.name, "description": comments.get(service.full_name, "")}
