"""The ``levimesh`` command."""

import os

# What grpc has to tell besides errors would tear the live screens. It reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import typer

from services.cli import (
    audit,
    certs,
    keys,
    login,
    market,
    md,
    models,
    orders,
    password,
    rules,
    sessions,
    stack,
    totp,
    trading,
    users,
    watch,
)

app = typer.Typer(
    name="levimesh",
    help="Market data, predictions and paper trading on one machine, with one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (
    stack,
    certs,
    login,
    watch,
    market,
    md,
    models,
    orders,
    trading,
    users,
    sessions,
    keys,
    password,
    totp,
    rules,
    audit,
):
    app.add_typer(module.app)


def main() -> None:
    """The entry point of the ``levimesh`` script."""
    app()
