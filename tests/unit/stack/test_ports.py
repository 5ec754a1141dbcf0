import socket

import pytest

from services.stack.ports import PortTaken, check_free, find_free


def test_a_taken_port_is_named_with_the_setting_that_changes_it() -> None:
    free, taken = find_free(2, first=21_000)
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(PortTaken) as refused:
        check_free([("LEVIMESH_REDIS_PORT", free), ("LEVIMESH_GATEWAY_PORT", taken)])

    assert f"port {taken}: set LEVIMESH_GATEWAY_PORT to another one" in str(refused.value)
    assert "LEVIMESH_REDIS_PORT" not in str(refused.value)


def test_free_ports_are_different_and_outside_the_range_of_outgoing_connections() -> None:
    ports = find_free(3, first=22_000)

    assert len(set(ports)) == 3
    assert max(ports) < 32_768
