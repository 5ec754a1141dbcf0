"""What auth stands on: PostgreSQL, Argon2 and Ed25519."""
