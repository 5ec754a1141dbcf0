"""Users, sessions, keys and the audit chain: what holds without any wire or database."""
