"""Writes the document.

buf build -o - | python -m gateway.openapi gateway/openapi.yaml
"""

import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

from gateway.openapi.document import as_yaml, document

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: buf build -o - | python -m gateway.openapi FILE")
    image = descriptor_pb2.FileDescriptorSet.FromString(sys.stdin.buffer.read())
    Path(sys.argv[1]).write_text(as_yaml(document(image)))
