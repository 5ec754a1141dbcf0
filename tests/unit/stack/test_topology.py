import os
from pathlib import Path

import pytest

from services.stack.processes import Process
from services.stack.settings import AUTH_EDGE, SERVICES, StackSettings
from services.stack.state import Memory, Secrets, State
from services.stack.topology import processes


def topology(folder: Path, source: str = "simex", **settings: int) -> dict[str, Process]:
    state = State.at(folder)
    memory = Memory(source, 300.0)
    found = processes(StackSettings(state=folder, **settings), state, Secrets.of(state), memory)  # type: ignore[arg-type] # ports only
    return {process.name: process for process in found}


def test_what_a_process_needs_comes_before_it_and_is_stopped_after_it(tmp_path: Path) -> None:
    found = topology(tmp_path)
    order = list(found)

    for process in found.values():
        for need in process.needs:
            assert order.index(need) < order.index(process.name)
            assert found[need].stop_wave > process.stop_wave


def test_no_secret_is_in_a_command_that_everybody_on_the_machine_can_read(tmp_path: Path) -> None:
    found = topology(tmp_path)
    secrets = Secrets.of(State.at(tmp_path))

    words = " ".join(word for process in found.values() for word in process.command)

    assert not [secret for secret in (secrets.postgres, secrets.redis, *secrets.roles.values()) if secret in words]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_gets_its_own_password_and_nobody_elses(tmp_path: Path, service: str) -> None:
    environment = " ".join(topology(tmp_path)[service].environment.values())
    secrets = Secrets.of(State.at(tmp_path))

    assert secrets.roles[service] in environment
    assert not [other for other in SERVICES if other != service and secrets.roles[other] in environment]
    assert secrets.postgres not in environment
    assert (secrets.key_encryption in environment) == (service == "auth")


def test_a_port_that_is_set_reaches_everybody_who_uses_it(tmp_path: Path) -> None:
    found = topology(tmp_path, prediction_port=16053, redis_port=16379, simex_port=16080)

    assert found["prediction"].environment["PREDICTION_PORT"] == "16053"
    assert found["prediction"].environment["PREDICTION_METRICS_PORT"] == "16153"
    assert found["trading"].environment["TRADING_PREDICTION_TARGET"] == "127.0.0.1:16053"
    assert found["trading"].environment["TRADING_REDIS_URL"].endswith("@127.0.0.1:16379/0")
    assert found["marketdata"].environment["MARKETDATA_BASE_URL"] == "http://127.0.0.1:16080"
    assert found["simex"].environment["SIMEX_PORT"] == "16080"


def test_auths_worker_at_the_edge_is_auth_on_a_port_of_its_own_that_gives_way_to_nobody(tmp_path: Path) -> None:
    found = topology(tmp_path, auth_edge_port=16055)
    auth, worker = found["auth"], found["auth-edge"]
    ports = {"AUTH_PORT": "16055", "AUTH_METRICS_PORT": "16155"}

    assert worker.environment == {**auth.environment, **ports}
    assert worker.command[-1] == "services.auth.edge_worker"
    assert (auth.command[-1], auth.environment["AUTH_PORT"]) == ("services.auth", "15051")
    assert worker.log != auth.log
    assert {name: process.niceness for name, process in found.items() if process.niceness} == {"auth": 10}
    cores = os.sched_getaffinity(0)
    assert {name for name, process in found.items() if process.cores is not None} == {"auth"}
    assert auth.cores is not None
    assert auth.cores <= cores
    assert len(auth.cores) == (len(cores) + 1) // 2


def test_tokens_name_the_url_of_the_gateway_as_their_issuer_for_everybody(tmp_path: Path) -> None:
    found = topology(tmp_path, gateway_port=16443)

    for service in SERVICES:
        assert found[service].environment[f"{service.upper()}_TOKEN_ISSUER"] == "https://localhost:16443"


def test_a_replay_is_played_by_simex_with_all_symbols_of_its_files(tmp_path: Path) -> None:
    found = topology(tmp_path, source="replay:/data")

    assert found["simex"].environment["SIMEX_REPLAY_DIR"] == "/data"
    assert found["simex"].environment["SIMEX_SPEED"] == "300.0"
    assert found["marketdata"].environment["MARKETDATA_SYMBOLS"] == ""


def test_a_real_exchange_is_asked_at_its_own_address_without_simex(tmp_path: Path) -> None:
    found = topology(tmp_path, source="ccxt:kraken")

    assert "simex" not in found
    marketdata = found["marketdata"].environment
    assert (marketdata["MARKETDATA_SOURCE"], marketdata["MARKETDATA_EXCHANGE"]) == ("kraken", "kraken")
    assert marketdata["MARKETDATA_BASE_URL"] == ""
    assert "MARKETDATA_SYMBOLS" not in marketdata


def test_a_process_inherits_its_own_settings_and_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {"TRADING_PAPER_CASH": "7", "AUTH_TOKEN_LIFETIME_SECONDS": "60", "SIMEX_SEED": "9"}
    for name, value in {**theirs, "AWS_SECRET_ACCESS_KEY": "canary", "LEVIMESH_GATEWAY_PORT": "1"}.items():
        monkeypatch.setenv(name, value)

    found = topology(tmp_path)

    for name, process in found.items():
        inherited = {variable for variable in theirs if variable in process.environment}
        prefix = "AUTH_" if name == AUTH_EDGE else f"{name.upper()}_"
        assert inherited == {variable for variable in theirs if variable.startswith(prefix)}
        assert "canary" not in process.environment.values()
        assert "LEVIMESH_GATEWAY_PORT" not in process.environment
    assert found["trading"].environment["PATH"]


def test_the_servers_of_the_wheels_inherit_nothing_of_the_user(tmp_path: Path) -> None:
    found = topology(tmp_path)

    for name in ("postgres", "redis", "gateway"):
        assert set(found[name].environment) == {"PATH", "LANG", "TZ"}
