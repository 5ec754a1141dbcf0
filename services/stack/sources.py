"""Where market data comes from: simex with a market of its own, simex replaying files, or an exchange."""

import re
import socket
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_CONNECT_SECONDS = 5.0
_FORMS = "simex, replay:FOLDER or ccxt:EXCHANGE"


class SourceError(Exception):
    """The source cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class Source:
    """A parsed ``--source``."""

    kind: str
    """``simex``, ``replay`` or ``ccxt``."""
    argument: str = ""
    """The folder (absolute) of a replay, the exchange's id in ccxt."""

    @classmethod
    def parse(cls, text: str) -> "Source":
        """``simex``, ``replay:FOLDER`` or ``ccxt:EXCHANGE``. Raises SourceError."""
        kind, _, argument = text.partition(":")
        if kind == "simex" and not argument:
            return cls("simex")
        if kind == "replay" and argument:
            return cls("replay", str(Path(argument).expanduser().absolute()))
        if kind == "ccxt" and re.fullmatch(r"[a-z0-9_]+", argument):
            return cls("ccxt", argument)
        raise SourceError(f"{text!r} is no source; use {_FORMS}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    @property
    def needs_simex(self) -> bool:
        """Whether simex plays the exchange."""
        return self.kind != "ccxt"

    def check(self) -> None:
        """Raise SourceError when it is plain already that the source cannot be used."""
        if self.kind == "replay":
            _check_files(Path(self.argument))
        elif self.kind == "ccxt":
            _check_exchange(self.argument)


def _check_files(path: Path) -> None:
    if not path.exists():
        raise SourceError(f"there is no {path}; give a folder of Parquet files: --source replay:FOLDER")
    if path.is_dir() and not any(path.glob("*.parquet")):
        raise SourceError(f"there is no .parquet file in {path}; give a folder of candles or trades in Parquet")


def _check_exchange(exchange: str) -> None:
    import ccxt.pro  # only here: it takes seconds

    if exchange not in ccxt.pro.exchanges:
        near = get_close_matches(exchange, ccxt.pro.exchanges, n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SourceError(f"ccxt knows no exchange {exchange!r} with live data{meant}")
    host = _host(getattr(ccxt.pro, exchange)())
    if host is None:
        return
    try:
        socket.create_connection((host, 443), _CONNECT_SECONDS).close()
    except OSError as error:
        raise SourceError(
            f"{exchange} cannot be reached ({host}: {error}); check the network, or use --source simex or replay:FOLDER"
        ) from error


def _host(exchange: Any) -> str | None:
    api = exchange.urls["api"]
    while isinstance(api, dict):
        api = api.get("public") or next(iter(api.values()), None)
    return urlsplit(str(api).replace("{hostname}", str(getattr(exchange, "hostname", "")))).hostname
