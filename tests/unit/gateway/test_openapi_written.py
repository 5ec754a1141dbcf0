"""The OpenAPI document in the repository is what the contracts give."""

import subprocess

from google.protobuf import descriptor_pb2

from gateway.openapi.document import as_yaml, document
from tests.embedded import BUF, ROOT


def test_the_document_is_what_the_contracts_give() -> None:
    image = subprocess.run([BUF, "build", "-o", "-"], check=True, capture_output=True, cwd=ROOT).stdout  # noqa: S603 - our own arguments
    written = document(descriptor_pb2.FileDescriptorSet.FromString(image))

    assert as_yaml(written) == (ROOT / "gateway" / "openapi.yaml").read_text()
