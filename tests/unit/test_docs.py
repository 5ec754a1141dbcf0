"""What the documents name exists, and what they say of errors is what the code does."""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from docs.generate_errors import Reason, reasons
from gateway.errors import EDGE_ERRORS, EdgeError
from services.runtime.errors import MeshError

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("README.md", "docs/**/*.md", "services/*/README.md", "gateway/README.md", "bench/README.md")
    for path in ROOT.glob(pattern)
)
PARTS = ("bench", "deploy", "docs", "gateway", "proto", "sdk", "services", "tests")

_CODE = re.compile(rf"`((?:{'|'.join(PARTS)})/[\w./-]*\w/?)(?:: ([\w.]+))?`")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
_ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ([^|]+) \| .+ \|")
_STEP = re.compile(r"^(\d+)\. ", re.MULTILINE)
_STEPS_AT_MOST = 15


def wrong_names(text: str) -> Iterator[str]:
    """What of ``path/to/file.py: Class.method`` (or ``path`` alone) in backticks does not exist."""
    for path, name in _CODE.findall(text):
        if not (ROOT / path).exists() or (name and name not in names_in(ROOT / path)):
            yield f"{path}: {name}" if name else path


def names_in(path: Path) -> set[str]:
    """The functions, classes, methods and constants of a Python file, as ``function`` and ``Class.method``."""
    return set(_names(ast.parse(path.read_text()).body, ""))


def _names(body: Iterable[ast.stmt], prefix: str) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from _names(statement.body, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


def mesh_errors(base: type[MeshError] = MeshError) -> Iterator[type[MeshError]]:
    for error in base.__subclasses__():
        yield error
        yield from mesh_errors(error)


def documented() -> dict[str, tuple[str, str]]:
    """gRPC status and HTTP status by reason, as ``docs/errors.md`` says."""
    rows = _ROW.findall((ROOT / "docs" / "errors.md").read_text())
    return {reason: (status, http) for reason, status, http in rows}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_function_that_a_document_names_exists(document: Path) -> None:
    assert list(wrong_names(document.read_text())) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_a_name_that_does_not_exist_is_found() -> None:
    text = """`services/trading/servicer.py: TradingServicer.SubmitOrder` `gateway/routes.py: method_route`
    `services/trading/servicer.py: TradingServicer.Submit` `gateway/routes.py: Route` `services/nobody.py`"""

    assert list(wrong_names(text)) == [
        "services/trading/servicer.py: TradingServicer.Submit",
        "gateway/routes.py: Route",
        "services/nobody.py",
    ]


def test_the_walkthrough_takes_at_most_fifteen_steps_and_each_names_code() -> None:
    _, *steps = _STEP.split((ROOT / "docs" / "walkthrough.md").read_text())
    numbers, texts = steps[::2], steps[1::2]

    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert 10 <= len(numbers) <= _STEPS_AT_MOST
    assert [number for number, text in zip(numbers, texts, strict=True) if not _CODE.search(text)] == []


def test_every_error_has_the_status_that_the_contract_promises() -> None:
    for service in ("auth", "marketdata", "prediction", "trading"):
        importlib.import_module(f"services.{service}.errors")
    for module in ("identity", "statuses"):
        importlib.import_module(f"services.runtime.{module}")
    known = documented()

    wrong = {
        error.__name__: (error.reason, error.status)
        for error in mesh_errors()
        if error.__module__.startswith("services.")
        and hasattr(error, "reason")
        and known.get(error.reason, ("", ""))[0] != error.status
    }
    assert wrong == {}


@pytest.mark.parametrize("error", EDGE_ERRORS, ids=lambda error: error.when)
def test_every_answer_of_the_gateway_has_the_statuses_that_the_contract_promises(error: EdgeError) -> None:
    status, http = documented()[error.reason]

    assert error.code == status
    assert str(error.http_status) in http.split(" or ")


def test_a_reason_whose_comment_has_no_status_is_refused() -> None:
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="levimesh/common/v1/error_reason.proto")
    enum = file.enum_type.add(name="ErrorReason")
    enum.value.add(name="ERROR_REASON_UNSPECIFIED", number=0)
    enum.value.add(name="ERROR_REASON_LOST", number=1)
    comment = file.source_code_info.location.add(path=[5, 0, 2, 1], leading_comments=" NOT_FOUND: it is\n lost.\n")

    assert list(reasons(files)) == [Reason("LOST", "NOT_FOUND", "404", "It is lost.")]
    comment.leading_comments = " It is lost.\n"
    with pytest.raises(ValueError, match="ERROR_REASON_LOST has to begin with a gRPC status"):
        list(reasons(files))
