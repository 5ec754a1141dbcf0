"""How fast trades become committed rows, and how soon the newest candles are read.

Starts a PostgreSQL of its own, with everything that keeps data safe. In turns the same trades go into the same table:
by one binary COPY of bytes that were made before, which is the best that this PostgreSQL can; by marketdata's recorder;
and by executemany. Then the last 500 candles of a symbol are read out of 10 million.

    .venv/bin/python -m bench.marketdata_store
"""

import asyncio
import gc
import io
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.measuring import percentiles
from services.marketdata.adapters.candles import PostgresCandles
from services.marketdata.adapters.leases import PostgresLeases
from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.catalog import Catalog
from services.marketdata.converters import market as convert
from services.marketdata.domain.market import Interval, TakerSide, Trade
from services.marketdata.feeding.trade_recorder import TradeRecorder
from services.marketdata.use_cases.candles import GetCandles
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.stack.ports import find_free
from services.stack.postgres import Cluster, run_as
from tests.marketdata import RefusedRows
from tests.unit.marketdata.builders import a_symbol

TRADES, ROUNDS = 100_000, 5
COPY_TARGET, EXECUTEMANY_TARGET = 0.60, 3.0
CANDLES, NEWEST, CALLS, WARM_UP, CANDLES_TARGET = 10_000_000, 500, 2_000, 200, 5.0
SYMBOLS = [f"{base}-USDT@bench" for base in ("ADA", "BNB", "BTC", "DOGE", "DOT", "ETH", "LTC", "SOL", "TRX", "XRP")]
START = datetime(2024, 3, 5, tzinfo=UTC)
PASSWORD = "bench"  # noqa: S105 - of a database that lives for a minute
COLUMNS = ("symbol", "trade_id", "price", "quantity", "taker_side", "trade_time", "receive_time", "sequence")

_INSERT = f"INSERT INTO marketdata.trades ({', '.join(COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"  # noqa: S608 - our own columns

_FILL = """
INSERT INTO marketdata.candles
    (symbol, interval_seconds, open_time, open, high, low, close, volume, origin, revision, sequence)
SELECT $1, 60, '2023-01-01Z'::timestamptz + minute * interval '1 minute', 60000.00 + minute % 997,
       62900.25 + minute % 1009, 59000.75, 60100.5, 12.34567 + minute % 13, 'trades', 0, minute + 1
FROM generate_series(0, $2::integer - 1) AS minute
"""


@dataclass(frozen=True)
class Database:
    """A migrated database of marketdata."""

    engine: AsyncEngine
    connection: "asyncpg.Connection"
    """A connection beside the engine's, for what is compared and for preparing."""


@contextmanager
def _server(cluster: Cluster, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(cluster.command, stdout=output, stderr=output, **run_as())  # noqa: S603 - our own command
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    with tempfile.TemporaryDirectory(prefix="levimesh-bench-") as folder:
        cluster = Cluster(Path(folder, "data"), find_free(1, first=12_000)[0], PASSWORD)
        await cluster.initialise()
        with _server(cluster, Path(folder, "log")):
            async with asyncio.timeout(30):
                await _until_ready(cluster)
            await cluster.provide("bench", {"marketdata": PASSWORD})
            url = cluster.url("marketdata", PASSWORD, "bench")
            await migrate("marketdata", url)
            plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
            async with open_database(SecretStr(url)) as engine:
                connection = await asyncpg.connect(plain, server_settings={"timezone": "UTC"})
                yield Database(engine, connection)
                await connection.close()


async def _until_ready(cluster: Cluster) -> None:
    while True:
        with suppress(OSError, asyncpg.PostgresError):
            return await cluster.ping()
        await asyncio.sleep(0.05)


def _trades() -> list[Trade]:
    """Trades as an exchange tells them, of four symbols by turns."""
    chance = random.Random(1)  # noqa: S311 - not for secrets
    trades = []
    for number in range(TRADES):
        time = START + timedelta(microseconds=500 * number)
        price = Decimal(chance.randint(5_000_000, 7_000_000)).scaleb(-2)
        quantity = Decimal(chance.randint(1, 10**8)).scaleb(-5)
        side, received = chance.choice((TakerSide.BUY, TakerSide.SELL)), time + timedelta(milliseconds=3)
        trades.append(
            Trade(SYMBOLS[number % 4], str(3_000_000_000 + number), price, quantity, side, time, received, number + 1)
        )
    return trades


def _record(trade: Trade) -> tuple[Any, ...]:
    numbers = (trade.price, trade.quantity, trade.taker_side.value)
    return (trade.symbol, trade.trade_id, *numbers, trade.trade_time, trade.receive_time, trade.sequence)


async def _rates(database: Database) -> dict[str, list[float]]:
    """Committed rows per second of each way, by round."""
    trades, connection = _trades(), database.connection
    records = [_record(trade) for trade in trades]
    store = PostgresTrades(database.engine)
    await store.prepare([START])
    data = await _as_copied(connection, trades)
    lease = await PostgresLeases(database.engine).acquire("bench", "bench")
    # What lives for the whole run is not looked through again and again; a feed's trades do not live long.
    gc.collect()
    gc.freeze()

    async def copy() -> None:
        await connection.copy_to_table(
            "trades", schema_name="marketdata", columns=COLUMNS, source=data, format="binary"
        )

    async def record() -> None:
        recorder = TradeRecorder(store.add, RefusedRows(), "bench")
        recorder.lease = lease
        task = asyncio.create_task(recorder.run())
        recorder.add(trades)
        await recorder.flushed()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def executemany() -> None:
        async with connection.transaction():
            await connection.executemany(_INSERT, records)

    ways = {"copy": copy, "marketdata": record, "executemany": executemany}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rates[name].append(TRADES / await _seconds(connection, way))
            if await connection.fetchval("SELECT count(*) FROM marketdata.trades") != TRADES:
                raise RuntimeError(f"{name} has not stored {TRADES} trades")
    return rates


async def _as_copied(connection: "asyncpg.Connection", trades: Sequence[Trade]) -> memoryview:
    """The rows of ``trades`` as PostgreSQL itself writes them for a binary COPY."""
    await connection.copy_records_to_table(
        "trades", schema_name="marketdata", columns=COLUMNS, records=map(_record, trades)
    )
    written = io.BytesIO()
    await connection.copy_from_query(
        f"SELECT {', '.join(COLUMNS)} FROM marketdata.trades ORDER BY sequence",  # noqa: S608 - our own columns
        output=written,
        format="binary",
    )
    return memoryview(written.getvalue())


async def _seconds(connection: "asyncpg.Connection", way: Callable[[], Awaitable[None]]) -> float:
    """How long ``way`` takes to fill the empty table."""
    await connection.execute("TRUNCATE marketdata.trades, marketdata.lines")
    started = time.perf_counter()
    await way()
    return time.perf_counter() - started


async def _milliseconds(database: Database) -> list[float]:
    """How long each reading of candles takes, from the request to the bytes of the answer."""
    await _fill(database.connection)
    catalog = Catalog()
    catalog.replace([a_symbol(symbol) for symbol in SYMBOLS])
    get_candles, took = GetCandles(catalog, PostgresCandles(database.engine)), []
    for _ in range(WARM_UP + CALLS):
        symbol = random.choice(SYMBOLS)  # noqa: S311 - not for secrets
        started = time.perf_counter()
        page = await get_candles(symbol, Interval.ONE_MINUTE, None, None, NEWEST)
        convert.candles_page_to_pb(page.candles, "").SerializeToString()
        took.append((time.perf_counter() - started) * 1000)
        if len(page.candles) != NEWEST:
            raise RuntimeError(f"{len(page.candles)} candles were read instead of {NEWEST}")
    return took[WARM_UP:]


async def _fill(connection: "asyncpg.Connection") -> None:
    each = CANDLES // len(SYMBOLS)
    end = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(minutes=each)
    await connection.execute("SELECT marketdata.add_partitions('candles', 'month', '2023-01-01Z', $1)", end)
    for symbol in SYMBOLS:
        await connection.execute(_FILL, symbol, each)
    await connection.execute("VACUUM ANALYZE marketdata.candles")
    # What was just written is not still being written while reading is measured.
    await asyncio.sleep(10)


async def _measure() -> bool:
    """Measure and print both; returns whether the targets were met."""
    async with _database() as database:
        is_fast = _print_rates(await _rates(database))
        return _print_latency(await _milliseconds(database)) and is_fast


def _print_rates(rates: Mapping[str, Sequence[float]]) -> bool:
    copy, ours, many = (statistics.median(rates[way]) for way in ("copy", "marketdata", "executemany"))
    print(
        f"trades to committed rows, {ROUNDS} rounds in turns, medians\n"
        f"  binary COPY, made before {copy:12,.0f} rows/s\n"
        f"  marketdata               {ours:12,.0f} rows/s\n"
        f"  executemany              {many:12,.0f} rows/s\n"
        f"  to COPY                  {ours / copy:12.2f} (target {COPY_TARGET:.2f})\n"
        f"  to executemany           {ours / many:12.1f} (target {EXECUTEMANY_TARGET:g})",
        flush=True,
    )
    return ours / copy >= COPY_TARGET and ours / many >= EXECUTEMANY_TARGET


def _print_latency(took: Sequence[float]) -> bool:
    p50, p99 = percentiles(took)
    print(
        f"the last {NEWEST} candles out of {CANDLES:,}, from request to bytes, {CALLS:,} calls\n"
        f"  p50 {p50:.2f} ms, p99 {p99:.2f} ms (target {CANDLES_TARGET:g} ms)"
    )
    return p99 < CANDLES_TARGET


def main() -> int:
    """Run the comparison; the exit status tells whether the targets were met."""
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}, load before {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return 0 if asyncio.run(_measure()) else 1


if __name__ == "__main__":
    sys.exit(main())
