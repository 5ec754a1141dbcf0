"""``levimesh models`` and ``model``: what was measured of them."""

from typing import Annotated

import typer
from rich.table import Table

from levimesh.client import Client
from levimesh.prediction.v1 import model_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from services.cli.display import console, record, show, table, when
from services.cli.parameters import Json
from services.cli.session import print_json, run

app = typer.Typer()

_FEATURES_SHOWN = 10


@app.command()
def models(*, json: Json = False) -> None:
    """List the models with what was measured on their test windows."""

    async def command(mesh: Client) -> None:
        response = await mesh.prediction.ListModels(pb.ListModelsRequest())
        if json:
            print_json(response)
            return
        measures = ("AUC", "log loss", "accuracy", "hit rate", "signals")
        shown = table("Models", "version", "state", *measures, numbers=measures, shrinking="version")
        for each in response.models:
            measured = each.card.metrics
            shares = (f"{share:.2%}" for share in (measured.accuracy, measured.hit_rate, measured.signal_rate))
            shown.add_row(each.model_version, _state(each), f"{measured.auc:.4f}", f"{measured.log_loss:.4f}", *shares)
        show(shown)

    run(command)


@app.command()
def model(
    version: Annotated[
        str, typer.Argument(help="As in `levimesh models`; the one that predicts without it.")
    ] = "active",
    *,
    json: Json = False,
) -> None:
    """Show the card of a model: what it was trained on, and what was measured later."""

    async def command(mesh: Client) -> None:
        response = await mesh.prediction.GetModel(pb.GetModelRequest(model_version=version))
        if json:
            print_json(response)
            return
        console.print(_card(response.model))
        for each in (_baselines(response.model.card), _features(response.model.card)):
            console.print()
            show(each)

    run(command)


def _card(shown: model_pb2.Model) -> Table:
    card, measured = shown.card, shown.card.metrics
    minutes = card.horizon.seconds // 60
    return record(
        ("model", f"{shown.model_version} ({card.kind}, {_state(shown)})"),
        ("predicts", f"up or down in {minutes} minutes, from candles of {card.interval.seconds // 60} minutes"),
        ("data", ", ".join(f"{each.symbol} ({each.candles:,} candles)" for each in card.data)),
        ("trained", _window(card.train)),
        ("validated", _window(card.validation)),
        ("tested", _window(card.test)),
        ("AUC", f"{measured.auc:.4f} (0.5 is chance)"),
        ("log loss", f"{measured.log_loss:.4f} (0.6931 is chance)"),
        ("Brier", f"{measured.brier:.4f} (0.25 is chance)"),
        ("calibration", f"{measured.ece:.4f} expected error"),
        ("signals", f"{measured.signal_rate:.2%} of the candles; {measured.hit_rate:.2%} of them right"),
        ("thresholds", f"UP from {card.upper_threshold:.4f}, DOWN to {card.lower_threshold:.4f}"),
    )


def _baselines(card: model_pb2.ModelCard) -> Table:
    shown = table("Share of right directions", "predictor", "accuracy", numbers=["accuracy"])
    shown.add_row("this model", f"{card.metrics.accuracy:.2%}")
    for each in card.baselines:
        shown.add_row(each.name, f"{each.accuracy:.2%}")
    return shown


def _features(card: model_pb2.ModelCard) -> Table:
    shown = table("Most important features", "feature", "share of the gain", numbers=["share of the gain"])
    for each in card.features[:_FEATURES_SHOWN]:
        shown.add_row(each.name, f"{each.gain_share:.2%}")
    return shown


def _window(window: model_pb2.Window) -> str:
    return f"{when(window.start_time)} to {when(window.end_time)} ({window.rows:,} rows)"


def _state(shown: model_pb2.Model) -> str:
    return model_pb2.ModelState.Name(shown.state).removeprefix("MODEL_STATE_").lower()
