"""The embedded stack: PostgreSQL, Redis, Envoy, simex and the services on one machine, with one command."""
