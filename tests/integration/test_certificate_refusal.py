"""Certificates that prove nothing are refused, by servers and by channels."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.runtime.channels import open_channel
from services.runtime.clock import utc_now
from services.runtime.workload import WorkloadFiles
from services.stack.certificates import LIFE
from services.stack.issuing import Issued, Issuer, key_pem, names_of_this_machine, names_of_workload, pem
from tests.gateway import Calls, recording
from tests.mesh import error_info, serving

MARKETDATA = pb.DESCRIPTOR.services_by_name["MarketDataService"]
A_DAY = timedelta(days=1)
Forge = Callable[[Issuer, str], Issued]


def issued(issuer: Issuer, workload: str) -> Issued:
    return issuer.issue(workload, names_of_workload(workload), utc_now(), LIFE, client=True)


def of_a_foreign_authority(_: Issuer, workload: str) -> Issued:
    return issued(Issuer.make(utc_now(), A_DAY), workload)


def of_an_authority_of_the_same_name(issuer: Issuer, workload: str) -> Issued:
    """Its issuer's name is right, and its issuer's key is not."""
    other = Issuer.make(utc_now(), A_DAY)
    forged = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject,
        subject_name=issuer.certificate.subject,
        public_key=other.key.public_key(),
        serial_number=issuer.certificate.serial_number,
        not_valid_before=issuer.certificate.not_valid_before_utc,
        not_valid_after=issuer.certificate.not_valid_after_utc,
    ).sign(other.key, hashes.SHA256())
    return issued(Issuer(forged, other.key), workload)


def self_signed(_: Issuer, workload: str) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, workload)])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(utc_now() - A_DAY)
        .not_valid_after(utc_now() + A_DAY)
        .add_extension(x509.SubjectAlternativeName(names_of_workload(workload)), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issued(made.public_bytes(serialization.Encoding.PEM), key_pem(key))


def expired(issuer: Issuer, workload: str) -> Issued:
    return issuer.issue(workload, names_of_workload(workload), utc_now() - 2 * LIFE, LIFE, client=True)


def not_good_yet(issuer: Issuer, workload: str) -> Issued:
    return issuer.issue(workload, names_of_workload(workload), utc_now() + A_DAY, LIFE, client=True)


def issued_by_a_workload(issuer: Issuer, workload: str) -> Issued:
    """Signed with the good key of a certificate that is no authority's."""
    good = issued(issuer, workload)
    key = serialization.load_pem_private_key(good.private_key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signed = issued(Issuer(x509.load_pem_x509_certificate(good.certificate), key), workload)
    return Issued(signed.certificate + good.certificate, signed.private_key)


FORGERIES = [
    of_a_foreign_authority,
    of_an_authority_of_the_same_name,
    self_signed,
    expired,
    not_good_yet,
    issued_by_a_workload,
]


def named(*names: x509.GeneralName, client: bool = True) -> Forge:
    return lambda issuer, _: issuer.issue("x", [*names, *names_of_this_machine()], utc_now(), LIFE, client=client)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer.make(utc_now(), A_DAY)


@asynccontextmanager
async def talking(folder: Path, issuer: Issuer, server: Forge, client: Forge) -> AsyncIterator[tuple[Any, Calls]]:
    """A stub of marketdata that shows what ``client`` makes to a server that shows what ``server`` makes."""
    calls = Calls()
    (folder / "ca.pem").write_bytes(pem(issuer.certificate))
    _write(folder / "marketdata", server(issuer, "marketdata"))
    files = _write(folder / "trading", client(issuer, "trading"))
    async with (
        serving({MARKETDATA: recording(MARKETDATA, calls, {})}, folder, workload="marketdata") as served,
        open_channel(MARKETDATA, "marketdata", served.target, files) as channel,
    ):
        yield pb_grpc.MarketDataServiceStub(channel), calls


async def test_good_certificates_are_accepted(tmp_path: Path, issuer: Issuer) -> None:
    async with talking(tmp_path, issuer, server=issued, client=issued) as (stub, calls):
        await stub.ListSymbols(pb.ListSymbolsRequest())

    assert calls.methods == ["ListSymbols"]


@pytest.mark.parametrize("forgery", [*FORGERIES, named(uri("spiffe://levimesh/trading"), client=False)])
async def test_a_server_lets_no_client_in_that_proves_nothing(tmp_path: Path, issuer: Issuer, forgery: Forge) -> None:
    async with talking(tmp_path, issuer, server=issued, client=forgery) as (stub, calls):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListSymbols(pb.ListSymbolsRequest())

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert calls.methods == []


@pytest.mark.parametrize(
    "forgery", [*FORGERIES, named(x509.DNSName("prediction"), uri("spiffe://levimesh/marketdata"))]
)
async def test_a_channel_talks_to_no_server_that_proves_nothing(tmp_path: Path, issuer: Issuer, forgery: Forge) -> None:
    async with talking(tmp_path, issuer, server=forgery, client=issued) as (stub, calls):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListSymbols(pb.ListSymbolsRequest())

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert calls.methods == []


@pytest.mark.parametrize(
    "names",
    [
        [],
        [uri("spiffe://levimesh/stranger")],
        [uri("spiffe://elsewhere/trading")],
        [uri("spiffe://levimesh.example/trading")],
        [uri("spiffe://levimesh/trading/admin")],
        [uri("spiffe://levimesh/stranger/trading")],
        [uri("https://levimesh/trading")],
        [uri("spiffe://levimesh/TRADING")],
        [x509.DNSName("trading")],
        [x509.RFC822Name("trading@levimesh")],
    ],
    ids=str,
)
async def test_a_certificate_with_another_name_is_somebody_elses(
    tmp_path: Path, issuer: Issuer, names: list[x509.GeneralName]
) -> None:
    async with talking(tmp_path, issuer, server=issued, client=named(*names)) as (stub, calls):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListSymbols(pb.ListSymbolsRequest())

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error_info(refused.value).reason == "ERROR_REASON_CALLER_NOT_ALLOWED"
    assert calls.methods == []


async def test_a_client_without_a_certificate_is_not_let_in(tmp_path: Path, issuer: Issuer) -> None:
    calls = Calls()
    (tmp_path / "ca.pem").write_bytes(pem(issuer.certificate))
    _write(tmp_path / "marketdata", issued(issuer, "marketdata"))
    nameless = grpc.ssl_channel_credentials(pem(issuer.certificate))
    async with (
        serving({MARKETDATA: recording(MARKETDATA, calls, {})}, tmp_path, workload="marketdata") as served,
        grpc.aio.secure_channel(served.target, nameless) as channel,
    ):
        stub: Any = pb_grpc.MarketDataServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListSymbols(pb.ListSymbolsRequest(), timeout=5)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert calls.methods == []


def _write(folder: Path, made: Issued) -> WorkloadFiles:
    folder.mkdir()
    files = WorkloadFiles(folder / "certificate.pem", folder / "private_key.pem", folder.parent / "ca.pem")
    files.certificate.write_bytes(made.certificate)
    files.private_key.write_bytes(made.private_key)
    return files
