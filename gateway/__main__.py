"""``python -m gateway FOLDER`` writes Envoy's configuration there, by the settings ``GATEWAY_…`` of the environment."""

import sys
from pathlib import Path

from gateway.render import write
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m gateway FOLDER")
    sys.stdout.write(f"{write(GatewaySettings(), Path(sys.argv[1]))}\n")
