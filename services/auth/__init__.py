"""auth: the users, their passwords, and the tokens that prove who they are."""
