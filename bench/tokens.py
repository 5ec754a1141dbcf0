"""How many access tokens a process can check: those that it sees for the first time, and those that it knows.

.venv/bin/python -m bench.tokens
"""

import sys
import time
import uuid

from rich.console import Console

from services.runtime.tokens import TokenVerifier
from tests.mesh import AUDIENCE, ISSUER, a_token, public_keys

TOKENS = 3000


def _verified_per_second() -> tuple[float, float]:
    """Tokens that are new, and tokens that are known, per second on one core."""
    verifier = TokenVerifier(ISSUER, AUDIENCE)
    verifier.set_keys(public_keys())
    tokens = [a_token("ROLE_TRADER", jti=uuid.uuid4().hex) for _ in range(TOKENS)]
    rates = []
    for _ in ("new", "known"):
        started = time.perf_counter()
        for token in tokens:
            verifier.verify(token)
        rates.append(TOKENS / (time.perf_counter() - started))
    return rates[0], rates[1]


def main() -> int:
    """Run the benchmark and print its line."""
    new, known = _verified_per_second()
    Console().print(f"tokens verified per second on one core: {new:,.0f} new, {known:,.0f} known")
    return 0


if __name__ == "__main__":
    sys.exit(main())
