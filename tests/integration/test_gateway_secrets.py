"""What clients send as secrets is not in the gateway's log."""

from pathlib import Path

from gateway.contracts import SERVICES
from tests.canaries import Canaries
from tests.gateway import Calls, recorders, running_gateway
from tests.integration.test_secrets_stay_secret import bad_credentials
from tests.mesh import a_token


async def test_no_secret_is_in_the_log_of_the_gateway(certificates: Path) -> None:
    canaries = Canaries()
    good = canaries.know(a_token("ROLE_TRADER"), "a good token")
    credentials = [{"authorization": f"Bearer {good}"}, *map(dict, bad_credentials(canaries))]
    async with (
        recorders(certificates, Calls(), *SERVICES) as servers,
        running_gateway(certificates, {name: (each.target,) for name, each in servers.items()}) as gateway,
    ):
        for headers in credentials:
            for path in ("/v1/symbols", "/auth/login", "/no/such/thing"):
                body = {"username": "somebody", "password": canaries.make("password in a body")}
                query = {"access_token": canaries.make("token in a query"), "page_token": "1"}
                async with gateway.http.post(path, headers=headers, json=body, params=query) as answer:
                    await answer.read()
                async with gateway.http.get(path, headers=headers, params=query) as answer:
                    await answer.read()
        form = {"grant_type": "refresh_token", "refresh_token": canaries.make("token in a form")}
        async with gateway.http.post("/oauth/token", headers=headers, data=form) as answer:
            await answer.read()
        # It writes what it still has to say when it is told to stop.
        gateway.process.terminate()
        await gateway.process.wait()
        log = (gateway.settings.socket_folder / "log").read_text()

    assert "/v1/symbols" in log, "there is an access log"
    assert canaries.found_in(log) == []
