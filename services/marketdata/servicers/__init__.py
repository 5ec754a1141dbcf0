"""The services of the contracts: wire in, wire out."""
