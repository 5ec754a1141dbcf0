"""How market data comes in: who leads a source, follows it, and stores and publishes what it sends."""
