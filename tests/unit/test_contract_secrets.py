"""The contracts mark what is secret: by that it is kept out of logs and of the audit chain."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import levimesh

_SECRET = re.compile(
    r"(password|passphrase|secret|second_factor|recovery_codes?|otpauth_uri|qr_\w+|(access|refresh|id)_token|assertion"
    r"|code_verifier|private_key|api_key)$"
)


def texts() -> Iterator[Any]:
    """Every field of text or bytes in our contracts."""
    root = Path(next(iter(levimesh.__path__)))
    for path in sorted(root.glob("*/v1/*_pb2.py")):
        descriptor = importlib.import_module(f"levimesh.{path.parts[-3]}.v1.{path.stem}").DESCRIPTOR
        for message in descriptor.message_types_by_name.values():
            yield from (field for field in message.fields if field.type in (field.TYPE_STRING, field.TYPE_BYTES))


@pytest.mark.parametrize(
    "field", [field for field in texts() if _SECRET.search(field.name)], ids=lambda field: field.full_name
)
def test_what_is_named_like_a_secret_is_marked_as_one(field: Any) -> None:
    assert field.GetOptions().debug_redact, f"write {field.name} [debug_redact = true]"
