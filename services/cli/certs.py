"""``levimesh certs``: the certificates by which the processes of the mesh on this machine know each other."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from cryptography import x509

from services.cli.display import console, show, table
from services.cli.parameters import Json
from services.cli.session import fail
from services.cli.stack import StateFolder, settings_and_state
from services.stack import launch
from services.stack.certificates import Authority, CertificateRefused
from services.stack.settings import StackSettings
from services.stack.shown import serials_in_use
from services.stack.state import State

app = typer.Typer()
certs = typer.Typer(
    name="certs",
    help="List, issue and replace the certificates of the mesh on this machine.",
    no_args_is_help=True,
)
app.add_typer(certs)


@certs.command(name="list")
def list_certificates(*, as_json: Json = False, state: StateFolder = None) -> None:
    """List the certificates, and whether the running processes show them yet."""
    settings, folder = settings_and_state(state)
    authority = _authority(settings, folder)
    in_use = asyncio.run(serials_in_use(settings, folder)) if launch.is_running(folder) else {}
    certificates = [_describe(name, each, in_use) for name, each in authority.issued().items()]
    issuing = authority.certificate
    authorities = [_describe_authority(each, issues=each == issuing) for each in authority.trusted()]
    if as_json:
        _print_json({"certificates": certificates, "authorities": authorities})
    else:
        _show(certificates, authorities)


@certs.command()
def issue(
    workload: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and dashes.")],
    state: StateFolder = None,
) -> None:
    """Issue a certificate for a workload; one that is new to the mesh is renewed from now on."""
    settings, folder = settings_and_state(state)
    try:
        _authority(settings, folder).issue(workload)
    except CertificateRefused as error:
        fail(str(error))
    console.print(f"{workload}: {folder.certificates / workload}", soft_wrap=True)


@certs.command()
def rotate(
    workloads: Annotated[list[str] | None, typer.Argument(help="Whose; all without it.", show_default=False)] = None,
    *,
    authority: Annotated[
        bool, typer.Option("--authority", help="Replace the authority, and then all it issued.")
    ] = False,
    state: StateFolder = None,
) -> None:
    """Replace certificates now. Running processes follow by themselves, and no call fails."""
    settings, folder = settings_and_state(state)
    if authority and workloads:
        raise typer.BadParameter("a new authority issues everything anew; name no workloads", param_hint="--authority")
    try:
        if authority:
            _rotate_authority(settings, folder)
        else:
            replaced = _authority(settings, folder).reissue(workloads or ())
            console.print(f"Replaced: {', '.join(replaced)}", soft_wrap=True)
    except CertificateRefused as error:
        fail(str(error))


def _rotate_authority(settings: StackSettings, folder: State) -> None:
    if launch.is_running(folder):
        _authority(settings, folder).succeed()
        seconds = settings.authority_overlap_seconds
        console.print(
            f"Two authorities are trusted now. In {seconds} s the new one issues everything anew, and {seconds} s "
            "later the old one is not trusted any more; see: levimesh certs list",
            soft_wrap=True,
        )
        return
    # Nobody has to notice anything in between.
    authority = _authority(settings, folder, overlap=timedelta(0))
    if not authority.is_changing:
        authority.succeed()
    while authority.is_changing:
        authority.renew()
    console.print("A new authority has issued everything anew; the old one is not trusted any more.", soft_wrap=True)


def _authority(settings: StackSettings, folder: State, overlap: timedelta | None = None) -> Authority:
    if not folder.authority_key.exists():
        fail(f"there are no certificates in {folder.path}; make a mesh with: levimesh up")
    life, overlap = settings.certificate_life, settings.authority_overlap if overlap is None else overlap
    try:
        return Authority.open(folder.certificates, folder.authority_key, life=life, overlap=overlap)
    except (OSError, ValueError) as error:
        fail(f"the certificates in {folder.path} cannot be used: {error}")


def _describe(name: str, certificate: x509.Certificate, in_use: Mapping[str, int]) -> dict[str, Any]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        "workload": name,
        "spiffe_id": "".join(names.get_values_for_type(x509.UniformResourceIdentifier)),
        **_validity(certificate),
        "issuer": certificate.issuer.rfc4514_string(),
        "in_use": in_use[name] == certificate.serial_number if name in in_use else None,
    }


def _describe_authority(certificate: x509.Certificate, *, issues: bool) -> dict[str, Any]:
    return {"name": certificate.subject.rfc4514_string(), **_validity(certificate), "issues": issues}


def _validity(certificate: x509.Certificate) -> dict[str, str]:
    return {
        "serial": f"{certificate.serial_number:x}",
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def _show(certificates: list[dict[str, Any]], authorities: list[dict[str, Any]]) -> None:
    in_use = {True: "yes", False: "not yet", None: ""}
    columns = ("workload", "SPIFFE id", "serial", "good from (UTC)", "until (UTC)", "in use", "issuer")
    rows = table("Certificates", *columns, shrinking="serial")
    for each in certificates:
        shown = in_use[each["in_use"]]
        rows.add_row(each["workload"], each["spiffe_id"], each["serial"], *_times(each), shown, each["issuer"])
    show(rows)
    trusted = table(
        "Trusted authorities", "name", "serial", "good from (UTC)", "until (UTC)", "issues", shrinking="serial"
    )
    for each in authorities:
        trusted.add_row(each["name"], each["serial"], *_times(each), "yes" if each["issues"] else "")
    show(trusted)


def _times(described: Mapping[str, str]) -> tuple[str, str]:
    return _time(described["not_before"]), _time(described["not_after"])


def _time(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")


def _print_json(content: Mapping[str, Any]) -> None:
    console.out(json.dumps(content, indent=2), highlight=False)
