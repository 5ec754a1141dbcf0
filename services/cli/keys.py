"""``levimesh keys``: by which programs act for one."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from levimesh.auth.v1 import api_key_pb2
from levimesh.auth.v1 import api_key_service_pb2 as pb
from levimesh.client import Client
from services.cli.display import console, record, show, table, tier, when
from services.cli.paging import every_page
from services.cli.parameters import Json, RateTier, span
from services.cli.session import fail, print_json, run

app = typer.Typer()
keys = typer.Typer(name="keys", help="API keys, by which programs act for you.", no_args_is_help=True)
app.add_typer(keys)


class Scope(StrEnum):
    """A scope as the command line spells it."""

    read = "read"
    trade = "trade"
    admin = "admin"

    @property
    def wire(self) -> "api_key_pb2.Scope.ValueType":
        """As the contracts spell it."""
        return api_key_pb2.Scope.Value(f"SCOPE_{self.upper()}")


Name = Annotated[str, typer.Argument(help="What you call it.")]
Scopes = Annotated[list[Scope], typer.Option("--scope", help="What it may be used for; may be given more than once.")]
Lifetime = Annotated[str, typer.Option(help="How long it is good for, such as 90d; a year without it.")]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="From where it may be used, such as 192.0.2.0/24; more than once for more."),
]
Key = Annotated[str, typer.Argument(help="The key's name, its prefix, or its id.")]
Overlap = Annotated[str, typer.Option(help="How long the old secret still works, such as 1h; not at all without it.")]


@keys.command()
def create(
    name: Name,
    scope: Scopes,
    lifetime: Lifetime = "",
    network: Networks = None,
    tier: RateTier = None,
    *,
    json: Json = False,
) -> None:
    """Make a key. Its secret is shown this once."""
    request = pb.CreateApiKeyRequest(name=name, scopes=[each.wire for each in scope], allowed_networks=network or ())
    if lifetime:
        request.lifetime.CopyFrom(span("--lifetime", lifetime))
    if tier is not None:
        request.rate_tier = tier.wire

    async def command(mesh: Client) -> None:
        response = await mesh.api_keys.CreateApiKey(request)
        if json:
            print_json(response)
        else:
            _show_secret(response)

    run(command)


@keys.command(name="list")
def list_keys(*, json: Json = False) -> None:
    """List your keys, the newest first, without their secrets."""

    async def command(mesh: Client) -> None:
        response = await every_page(mesh.api_keys.ListApiKeys, pb.ListApiKeysRequest())
        if json:
            print_json(response)
        else:
            _show(response.api_keys)

    run(command)


@keys.command()
def rotate(key: Key, overlap: Overlap = "", *, json: Json = False) -> None:
    """Give a key a new secret, shown this once."""
    request = pb.RotateApiKeyRequest()
    if overlap:
        request.overlap.CopyFrom(span("--overlap", overlap))

    async def command(mesh: Client) -> None:
        request.key_id = await _id_of(mesh, key)
        response = await mesh.api_keys.RotateApiKey(request)
        if json:
            print_json(response)
        else:
            _show_secret(response)

    run(command)


@keys.command()
def revoke(key: Key) -> None:
    """End a key and its tokens; for an admin also that of another user, by its id."""

    async def command(mesh: Client) -> None:
        await mesh.api_keys.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=await _id_of(mesh, key)))
        console.print(f"The key {key} is revoked.")

    run(command)


async def _id_of(mesh: Client, key: str) -> str:
    """The id of the one key of the caller that works and is meant by ``key``; an id stands for itself."""
    try:
        return str(uuid.UUID(key))
    except ValueError:
        pass
    known = await every_page(mesh.api_keys.ListApiKeys, pb.ListApiKeysRequest())
    working = [each for each in known.api_keys if not _end_of(each)]
    found = [each for each in working if key in {each.name, each.prefix} or each.key_id.startswith(key.lower())]
    if len(found) != 1:
        fail(f"{len(found) or 'no'} working keys of yours are meant by {key}; `levimesh keys list` lists them all")
    return found[0].key_id


def _end_of(key: api_key_pb2.ApiKey) -> str:
    """Why ``key`` does not work; empty when it does."""
    if key.HasField("revoke_time"):
        return "revoked"
    has_expired = key.HasField("expire_time") and key.expire_time.ToDatetime(UTC) <= datetime.now(UTC)
    return "expired" if has_expired else ""


def _scopes(key: api_key_pb2.ApiKey) -> str:
    return ", ".join(api_key_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower() for scope in key.scopes)


def _show(shown: "Iterable[api_key_pb2.ApiKey]") -> None:
    columns = ("name", "prefix", "scopes", "tier", "networks", "expires (UTC)", "last use (UTC)", "state", "id")
    rows = table("API keys", *columns, shrinking="id")
    for each in shown:
        rows.add_row(
            each.name,
            each.prefix,
            _scopes(each),
            tier(each.rate_tier),
            ", ".join(each.allowed_networks),
            when(each.expire_time),
            when(each.last_use_time) or "never",
            _end_of(each),
            each.key_id,
        )
    show(rows)


def _show_secret(response: pb.CreateApiKeyResponse | pb.RotateApiKeyResponse) -> None:
    key = response.api_key
    console.print(
        record(("name", key.name), ("id", key.key_id), ("scopes", _scopes(key)), ("expires", when(key.expire_time)))
    )
    console.print(f"\n{response.secret}\n", soft_wrap=True)
    console.print(
        "This is the secret, shown this once. Keep it in a file that only its program can read, and name",
        soft_wrap=True,
    )
    console.print("that file in LEVIMESH_API_KEY_FILE; over REST send it as the header x-api-key.", soft_wrap=True)
