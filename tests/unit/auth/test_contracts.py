"""auth knows the contracts of the whole mesh."""

import importlib
import pkgutil
from collections.abc import Iterator

import levimesh
from gateway.contracts import SERVICES
from levimesh.auth.v1 import edge_pb2
from levimesh.policy.v1 import policy_pb2
from services.auth import contracts


def services_of_our_contracts() -> Iterator[str]:
    for module in pkgutil.walk_packages(levimesh.__path__, "levimesh."):
        if module.name.endswith("_service_pb2") and ".foreign." not in module.name:
            for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values():
                yield service.full_name


def test_no_service_of_the_contracts_is_left_out() -> None:
    known = {service.full_name for service in contracts.MESH}

    assert known >= set(services_of_our_contracts())
    assert known >= {service.full_name for services in SERVICES.values() for service in services}


def test_every_policy_of_a_foreign_method_is_of_a_method_that_there_is() -> None:
    named = {foreign.method for foreign in edge_pb2.DESCRIPTOR.GetOptions().Extensions[policy_pb2.foreign]}

    assert named == {method.full_name for method in contracts.methods() if not method.full_name.startswith("levimesh.")}
