"""The services of the contract: wire in, wire out."""
