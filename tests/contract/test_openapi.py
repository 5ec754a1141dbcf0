"""The gateway keeps to its OpenAPI document, whatever it is sent: it never fails, and says nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.embedded import Mesh

DOCUMENT = Path(__file__).parents[2] / "gateway" / "openapi.yaml"
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
ENDS_SESSIONS = ("AuthService_Logout", "AuthService_LogoutEverywhere")
GUEST = {"username": "guest", "password": "the password of a guest"}

schema = schemathesis.openapi.from_path(DOCUMENT)


def is_a_stream(context: Any) -> bool:
    return "text/event-stream" in context.operation.definition.raw["responses"].get("200", {}).get("content", {})


@pytest.fixture(scope="session")
def admin(mesh: Mesh) -> str:
    return mesh.token()


def a_guest(mesh: Mesh, admin: str) -> str:
    """The token of somebody whose sessions may end."""
    body = ("-H", "content-type: application/json", "-d")
    mesh.curl("/v1/users", *body, json.dumps({**GUEST, "roles": ["ROLE_TRADER"]}), token=admin)
    token: str = json.loads(mesh.curl("/v1/auth/login", *body, json.dumps(GUEST)))["access_token"]
    return token


@schema.exclude(is_a_stream).parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_in_the_document(case: Any, mesh: Mesh, admin: str) -> None:
    ends_sessions = case.operation.definition.raw["operationId"] in ENDS_SESSIONS
    token = a_guest(mesh, admin) if ends_sessions else admin

    response = case.call(
        base_url=mesh.plain, headers={"authorization": f"Bearer {token}"}, allow_redirects=False, timeout=20
    )

    case.validate_response(response, checks=CHECKS)


def test_the_document_is_sound(mesh: Mesh) -> None:
    served = mesh.curl("/openapi.yaml")

    assert served == DOCUMENT.read_text()
    validate(schemathesis.openapi.from_path(DOCUMENT).raw_schema)
