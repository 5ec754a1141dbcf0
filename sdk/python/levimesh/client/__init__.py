"""The Python client of the mesh.

async with Client.connect() as mesh:
    response = await mesh.marketdata.GetTicker(GetTickerRequest(symbol="BTC-USDT@simex"))
    async for signal in mesh.signals():
        ...
"""

from levimesh.client.client import Client
from levimesh.client.errors import ErrorDetails, ProfileError, details, explain
from levimesh.client.profile import Profile
from levimesh.client.renewal import login
from levimesh.client.session import Session, SessionFile
from levimesh.client.tokens import AccessToken

__all__ = [
    "AccessToken",
    "Client",
    "ErrorDetails",
    "Profile",
    "ProfileError",
    "Session",
    "SessionFile",
    "details",
    "explain",
    "login",
]
