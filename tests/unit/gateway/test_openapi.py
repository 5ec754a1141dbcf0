"""The OpenAPI document says what the contracts say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2
from openapi_spec_validator import validate

from gateway.contracts import SERVICES, exposed_methods
from gateway.openapi.comments import reasons_of
from gateway.openapi.forms import FORMS

DOCUMENT = Path(__file__).parents[3] / "gateway" / "openapi.yaml"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return content


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][f"levimesh.{name}"]
    return found


def test_the_document_is_sound(document: dict[str, Any]) -> None:
    validate(document)


def test_every_method_that_can_be_reached_is_there(document: dict[str, Any]) -> None:
    known = {operation["operationId"].rstrip("23456789") for operation in operations(document)}

    over_rest = {
        f"{service.name}_{method.name}"
        for services in SERVICES.values()
        for service in services
        for method in service.methods
        if method.GetOptions().HasExtension(annotations_pb2.http)
    }
    exposed = {"_".join(method.path.rpartition(".")[2].split("/")) for method in exposed_methods()}
    assert known == (exposed & over_rest) | {"Gateway_Health"}


def test_every_method_with_a_body_of_its_own_has_a_form_that_says_what_is_in_it() -> None:
    own = {method.path.removeprefix("/").replace("/", ".") for method in exposed_methods() if method.speaks_http}

    assert own == FORMS.keys()


def test_a_method_is_at_each_of_its_paths(document: dict[str, Any]) -> None:
    paths = document["paths"]

    assert paths["/auth/login"]["post"]["operationId"] == "AuthService_Login2"
    assert paths["/v1/auth/login"]["post"]["responses"] == paths["/auth/login"]["post"]["responses"]
    cancel = paths["/v1/orders/{order_id}:cancel"]["post"]
    assert [parameter["name"] for parameter in cancel["parameters"]] == ["order_id"]
    assert "order_id" not in cancel["requestBody"]["content"]["application/json"]["schema"].get("properties", {})


def test_who_may_call_and_how_often_is_told(document: dict[str, Any]) -> None:
    paths = document["paths"]

    assert paths["/v1/orders"]["post"]["security"] == [{"bearer": []}, {"apiKey": []}]
    assert paths["/v1/api-keys"]["post"]["security"] == [{"bearer": []}]
    assert paths["/v1/auth/login"]["post"]["security"] == []
    assert paths["/v1/orders"]["post"]["x-levimesh-policy"]["roles"] == ["ROLE_TRADER", "ROLE_ADMIN"]
    assert all(
        "rate_limit" in each["x-levimesh-policy"] for each in operations(document) if "x-levimesh-policy" in each
    )


def test_what_the_contract_demands_of_a_field_the_schema_demands(document: dict[str, Any]) -> None:
    key = schema(document, "auth.v1.CreateApiKeyRequest")
    login = schema(document, "auth.v1.LoginRequest")
    order = schema(document, "trading.v1.SubmitOrderRequest")

    assert key["required"] == ["name", "scopes"]
    assert (key["properties"]["name"]["minLength"], key["properties"]["name"]["maxLength"]) == (1, 64)
    assert key["properties"]["scopes"]["items"]["not"] == {"enum": ["SCOPE_UNSPECIFIED"]}
    assert (key["properties"]["scopes"]["minItems"], key["properties"]["scopes"]["uniqueItems"]) == (1, True)
    assert "minimum 60s" in key["properties"]["lifetime"]["description"]
    assert login["required"] == ["username", "password"]
    assert {"client_order_id", "symbol", "side", "type", "quantity"} == set(order["required"])


def test_numbers_are_written_as_the_gateway_writes_them(document: dict[str, Any]) -> None:
    event = schema(document, "auth.v1.AuditEvent")["properties"]
    prediction = schema(document, "prediction.v1.Prediction")["properties"]

    assert (event["sequence"]["type"], event["sequence"]["format"]) == ("string", "int64")
    assert event["event_time"]["format"] == "date-time"
    assert event["subject"]["additionalProperties"]["type"] == "string"
    assert {"type": "number"} in prediction["probability_up"]["anyOf"]


def test_every_error_of_a_method_is_among_its_answers(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/orders"]["post"]["responses"]

    assert "ALREADY_EXISTS: CLIENT_ORDER_ID_REUSED" in answers["409"]["description"]
    assert "FAILED_PRECONDITION: INSUFFICIENT_FUNDS" in answers["400"]["description"]
    assert {"400", "401", "403", "413", "429", "431", "500", "503", "504"} <= answers.keys()
    assert "401" not in document["paths"]["/.well-known/jwks.json"]["get"]["responses"]


def test_a_stream_is_lines_or_events(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/orders:stream"]["get"]["responses"]

    assert answers["200"]["content"].keys() == {"application/json", "text/event-stream"}
    assert "504" not in answers


def test_the_reasons_in_a_comment_belong_to_the_status_before_them() -> None:
    comment = (
        "Does it. Errors: NOT_FOUND (ERROR_REASON_A), FAILED_PRECONDITION (ERROR_REASON_B when late, ERROR_REASON_C)."
    )

    assert reasons_of(comment) == {
        "NOT_FOUND": ["ERROR_REASON_A"],
        "FAILED_PRECONDITION": ["ERROR_REASON_B", "ERROR_REASON_C"],
    }
