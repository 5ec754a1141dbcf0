"""All benchmarks but that of the memory, one after the other: ``make bench``.

The exit status tells whether every target was met.
"""

import platform
import sys

from bench import (
    edge,
    identity,
    login_storm,
    marketdata_fanout,
    marketdata_latency,
    marketdata_store,
    recovery,
    runtime_chain,
    tokens,
)

print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}\n")
print("Stages around a call")
failed = runtime_chain.main()
print("\nThe edge")
failed |= edge.main()
print("\nTokens")
failed |= tokens.main()
print("\nIdentity and limits at the edge")
failed |= identity.main()
print("\nA storm of logins")
failed |= login_storm.main()
print("\nTrades to many subscribers")
failed |= marketdata_fanout.main()
print("\nTrades from an exchange to subscribers")
failed |= marketdata_latency.main()
print("\nTrades and candles in the store")
failed |= marketdata_store.main()
print("\nStart and recovery")
failed |= recovery.main()
sys.exit(failed)
