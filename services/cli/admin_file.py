"""The file in which the embedded stack keeps the password of its admin."""

import json

from levimesh.client import ProfileError
from levimesh.client.profile import embedded, load, state_folder
from services.stack.files import write_private


def remember_password(username: str, password: str) -> None:
    """Keep the new password of ``username`` where the old one was kept, if that is the embedded stack's admin."""
    state = state_folder()
    try:
        admin, here = embedded(state), load().gateway
    except ProfileError:
        return
    is_stack = here.replace("localhost", "127.0.0.1") == admin.gateway
    if is_stack and username.lower() == admin.username.lower():
        content = {"username": admin.username, "password": password}
        write_private(state / "admin.json", json.dumps(content).encode())
