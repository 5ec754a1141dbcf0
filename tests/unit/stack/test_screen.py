from typing import Any

from rich.console import Console, RenderableType

from services.stack import screen


def shown(what: RenderableType, width: int = 100) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def a_process(name: str, **more: Any) -> dict[str, Any]:
    process = {"name": name, "condition": "ready", "pid": 4711, "memory": 50 * 2**20, "restarts": 0, "problem": ""}
    return {**process, **more}


def a_status(*processes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"source": "simex", "uptime": 3_725.0, "processes": list(processes), "progress": [], **more}


def test_each_process_has_a_line_with_what_keeps_it_from_being_ready() -> None:
    waiting = a_process("auth", condition="waiting", pid=None, memory=0, problem="waits for postgres")

    title, _, postgres, auth, everything = shown(
        screen.processes(a_status(a_process("postgres"), waiting))
    ).splitlines()

    assert title == "LeviMesh · simex · up 1:02:05"
    assert postgres.split() == ["postgres", "ready", "4711", "50", "MiB", "0"]
    assert auth.split() == ["auth", "waiting", "0", "waits", "for", "postgres"]
    assert everything.split() == ["all", "50", "MiB"]


def test_what_a_ready_process_lacks_is_shown() -> None:
    assert "serves without feed" in shown(
        screen.processes(a_status(a_process("marketdata", problem="serves without feed")))
    )


def test_words_of_others_are_shown_as_they_are() -> None:
    assert "[red]x[/red]" in shown(screen.processes(a_status(a_process("auth", problem="[red]x[/red]"))))


def test_progress_is_shown_until_everything_is_done() -> None:
    history = {"what": "history", "fraction": 1.0, "note": "17,280 candles"}
    model = {"what": "first model", "fraction": 0.25, "note": "fitting"}

    during, after = (a_status(progress=[history, {**model, "fraction": fraction}]) for fraction in (0.25, 1.0))

    assert "first model" in shown(screen.progress(during))
    assert "25%" in shown(screen.progress(during))
    assert shown(screen.progress(after)).strip() == ""


def test_before_the_supervisor_answers_something_is_shown() -> None:
    assert "starting" in shown(screen.starting({"ready": False, "processes": [], "progress": []}))
