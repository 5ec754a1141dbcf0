"""The Python client of the mesh.

async with Client.connect() as mesh:
    response = await mesh.marketdata.GetTicker(GetTickerRequest(symbol="BTC-USDT@simex"))
    async for signal in mesh.signals():
        ...
"""

from levimesh.client.client import Client, login
from levimesh.client.errors import ErrorDetails, details, explain
from levimesh.client.profile import Profile, ProfileError
from levimesh.client.tokens import AccessToken

__all__ = ["AccessToken", "Client", "ErrorDetails", "Profile", "ProfileError", "details", "explain", "login"]
