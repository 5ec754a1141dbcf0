"""How the state of the stack looks in a terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_STYLES = {
    "ready": "green",
    "waiting": "dim",
    "starting": "yellow",
    "not ready": "yellow",
    "restarting": "red",
    "stopping": "yellow",
    "stopped": "dim",
}
_MEBIBYTE = 1024 * 1024


def processes(status: dict[str, Any]) -> RenderableType:
    """A table of the processes."""
    title = f"LeviMesh · {status['source']} · up {_duration(status['uptime'])}"
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in ("process", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("pid", "memory", "restarts"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True, style="dim")
    for each in status["processes"]:
        condition = Text(each["condition"], style=_STYLES[each["condition"]])
        memory = f"{each['memory'] / _MEBIBYTE:.0f} MiB" if each["memory"] else ""
        table.add_row(
            each["name"], condition, str(each["pid"] or ""), memory, str(each["restarts"]), Text(each["problem"])
        )
    total = sum(each["memory"] for each in status["processes"])
    table.add_row("all", "", "", f"{total / _MEBIBYTE:.0f} MiB", "", "")
    return Group(Text(title, style="bold", overflow="ellipsis", no_wrap=True), table)


def progress(status: dict[str, Any]) -> RenderableType:
    """Bars for history and training, while they are not done."""
    steps = status["progress"]
    if not steps or all(step["fraction"] >= 1 for step in steps):
        return Text("")
    grid = Table.grid(padding=(0, 2))
    for step in steps:
        bar = ProgressBar(total=1.0, completed=step["fraction"], width=40)
        grid.add_row(step["what"], bar, f"{step['fraction']:.0%}", Text(step["note"], style="dim"))
    return grid


def starting(status: dict[str, Any]) -> RenderableType:
    """What is shown on the way to a ready mesh."""
    if not status["processes"]:
        return Text("starting the supervisor …", style="dim")
    return Group(processes(status), progress(status))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
