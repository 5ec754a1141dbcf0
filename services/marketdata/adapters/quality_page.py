"""The report on the quality of data as a page: HTML with charts as SVG, without scripts or anything from elsewhere.

As a process it reads what the report is about, pickled, and writes the page.
"""

import io
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from services.marketdata.domain.gaps import GapState
from services.marketdata.domain.quality import Quality

_templates = Environment(
    loader=PackageLoader("services.marketdata"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_templates.filters |= {
    "time": lambda moment: f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
    "span": lambda length: _in_words(length),  # noqa: PLW0108 - it is defined below
    "interval": lambda interval: _in_units(interval.value),
    "percent": lambda share: f"{100 * share:.2f} %",
}
_GAP_COLOURS = {GapState.OPEN: "#c0392b", GapState.REPAIRED: "#27ae60", GapState.NOT_AT_SOURCE: "#7f8c8d"}
_NICENESS = 10
_LONG = timedelta(seconds=10)
"""Times that are longer are drawn in seconds."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def quality_page(qualities: Sequence[Quality], made_at: datetime) -> str:
    """The page about these symbols; takes some tenths of a second of processor time for each."""
    charts = {quality.symbol: _charts(quality) for quality in qualities}
    return _templates.get_template("quality.html").render(qualities=qualities, charts=charts, made_at=made_at)


def _charts(quality: Quality) -> list[tuple[str, Markup]]:
    charts = [
        ("One-minute candles that are there, by time", _chart(quality, _coverage)),
        ("Trades, by time", _chart(quality, _trades)),
    ]
    if quality.latency is not None:
        charts.append(("From the source to us: half, and 99 of 100 trades, took no longer", _chart(quality, _latency)))
    if quality.gaps:
        charts.append(("Gaps: red is open, green is repaired, grey is not at the source", _chart(quality, _gaps)))
    if quality.quarantine:
        charts.append(("Rows in quarantine, by the rule that they broke", _chart(quality, _quarantine, timed=False)))
    return charts


def _chart(quality: Quality, draw: Callable[[Axes, Quality], None], *, timed: bool = True) -> Markup:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 1.8), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, quality)
        if timed:
            axes.set_xlim(_number(quality.span.start), _number(quality.span.end))
            locator = AutoDateLocator()
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    return Markup(svg[svg.index("<svg") :])  # noqa: S704 - matplotlib escapes what it writes


def _coverage(axes: Axes, quality: Quality) -> None:
    minutes = quality.span.slice_length / timedelta(minutes=1)
    shares = [min(1.0, each.minutes / minutes) * 100 for each in quality.slices]
    axes.bar(_starts(quality), shares, width=_width(quality), align="edge", color="#2980b9")
    axes.set_ylim(0, 100)
    axes.set_ylabel("%")


def _trades(axes: Axes, quality: Quality) -> None:
    counts = [each.trades for each in quality.slices]
    axes.bar(_starts(quality), counts, width=_width(quality), align="edge", color="#8e44ad")
    axes.set_ylabel("trades")


def _latency(axes: Axes, quality: Quality) -> None:
    timed = [each for each in quality.slices if each.p50 is not None and each.p99 is not None]
    middles = [_number(each.start + quality.span.slice_length / 2) for each in timed]
    unit, name_of_unit = (1.0, "s") if any(each.p99 and each.p99 > _LONG for each in timed) else (0.001, "ms")
    for name, colour in (("p50", "#16a085"), ("p99", "#d35400")):
        lengths = [getattr(each, name).total_seconds() / unit for each in timed]
        axes.plot(middles, lengths, marker=".", color=colour, label=name)
    axes.set_ylabel(name_of_unit)
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _gaps(axes: Axes, quality: Quality) -> None:
    least = _width(quality) / 20  # so that a gap of a second can be seen
    for gap in quality.gaps:
        start = _number(gap.start_time)
        length = max(_number(gap.end_time) - start, least)
        axes.broken_barh([(start, length)], (0, 1), color=_GAP_COLOURS[gap.state])
    axes.set_yticks([])


def _quarantine(axes: Axes, quality: Quality) -> None:
    reasons = sorted(quality.quarantine.items(), key=lambda item: item[1])
    axes.barh([reason.value.replace("_", " ") for reason, _ in reasons], [rows for _, rows in reasons], color="#c0392b")
    axes.set_xlabel("rows")


def _starts(quality: Quality) -> list[float]:
    return [_number(each.start) for each in quality.slices]


def _width(quality: Quality) -> float:
    return quality.span.slice_length / timedelta(days=1)


def _number(moment: datetime) -> float:
    return float(date2num(moment))


def _in_units(seconds: int) -> str:
    """Such as ``5m``, ``4h`` or ``1d``."""
    size, unit = next(pair for pair in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")) if seconds % pair[0] == 0)
    return f"{seconds // size}{unit}"


def _in_words(length: timedelta) -> str:
    seconds = length.total_seconds()
    if abs(seconds) < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.1f} s" if abs(seconds) < 120 else str(timedelta(seconds=round(seconds)))


if __name__ == "__main__":
    os.nice(_NICENESS)
    sys.stdout.buffer.write(quality_page(*pickle.load(sys.stdin.buffer)).encode())  # noqa: S301 - of our own service
