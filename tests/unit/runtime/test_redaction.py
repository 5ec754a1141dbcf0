"""Whatever the contracts call a secret is redacted, however a message gets into the log."""

import importlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from google.api import httpbody_pb2
from google.protobuf import message_factory
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message

import levimesh
from services.runtime.logging import configure, redact

SECRET = "Canary horse, \"Canary\" 'Canary' \\ {Canary} Canary"
CODE = "739284"


def secret_fields() -> Iterator[tuple[type[Message], Any]]:
    root = Path(next(iter(levimesh.__path__)))
    for path in sorted(root.glob("*/v1/*_pb2.py")):
        module = importlib.import_module(f"levimesh.{path.parts[-3]}.v1.{path.stem}")
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            for field in descriptor.fields:
                if field.GetOptions().debug_redact:
                    yield message_factory.GetMessageClass(descriptor), field


def holding(kind: type[Message], field: Any) -> Message:
    message = kind()
    secret = CODE if field.name == "code" else SECRET
    if field.message_type is httpbody_pb2.HttpBody.DESCRIPTOR:
        form = {"client_secret": "Canary", "refresh_token": "Canary", "password": "Canary", "code": "Canary" * 6}
        getattr(message, field.name).data = urlencode(form).encode()
    elif field.is_repeated:
        getattr(message, field.name).extend([secret, secret])
    else:
        setattr(message, field.name, secret.encode() if field.type == field.TYPE_BYTES else secret)
    return message


@pytest.mark.parametrize(("kind", "field"), list(secret_fields()), ids=lambda each: getattr(each, "full_name", ""))
def test_what_the_contract_marks_as_secret_is_redacted_in_every_notation(kind: type[Message], field: Any) -> None:
    message = holding(kind, field)

    # Bytes are base64 in JSON and escaped in text; either begins like the secret does.
    notations = [str(message), repr(message), f"got {message!s} from somebody"]
    if field.message_type is None:
        notations += [MessageToJson(message), str(MessageToDict(message, preserving_proto_field_name=True))]
    for text in notations:
        assert "Canary" not in redact(text), text
        assert CODE not in redact(text)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process logs, at the level at which everything is said."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", stream)
    configure("trading", "DEBUG")
    yield stream
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def test_a_secret_in_a_structure_of_its_own_is_redacted_by_its_name(log: io.StringIO) -> None:
    extra = {"request": {"password": SECRET, "user": "ada", "items": [{"access_token": SECRET}]}, "api_key": SECRET}
    logging.getLogger("x").warning("refused", extra=extra)

    line = json.loads(log.getvalue())
    assert line["request"] == {"password": "[redacted]", "user": "ada", "items": [{"access_token": "[redacted]"}]}
    assert line["api_key"] == "[redacted]"


def test_a_secret_with_spaces_and_quotes_is_redacted_to_its_end(log: io.StringIO) -> None:
    logging.getLogger("x").warning("refused %s", json.dumps({"password": SECRET, "user": "ada"}))

    assert json.loads(log.getvalue())["message"] == 'refused {"password": "[redacted]", "user": "ada"}'


def test_a_secret_in_an_exception_is_redacted(log: io.StringIO) -> None:
    error = ValueError(f"cannot connect to postgresql://auth:hunter2@db with password={SECRET.split()[0]}")
    logging.getLogger("x").error("failed", exc_info=error)

    assert "hunter2" not in log.getvalue()
    assert "Canary" not in json.loads(log.getvalue())["exc_info"]


@pytest.mark.parametrize("library", ["ccxt.base.exchange", "sqlalchemy.engine.Engine"])
def test_libraries_that_tell_whole_requests_are_not_let(log: io.StringIO, library: str) -> None:
    logging.getLogger(library).debug("headers %s", {"X-MBX-APIKEY": "canary"})

    assert log.getvalue() == ""


@pytest.mark.parametrize(
    "text",
    [
        "the status code: UNAVAILABLE",
        "code=5 reason=ORDER_NOT_FOUND",
        "tokens: 3, token_type: Bearer",
        "key: BTC-USDT, key_id=3f2a",
        "resume_token: 1-0",
        "author: ada",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text
