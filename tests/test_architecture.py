"""The budgets of the house style: they are checked, so they hold."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for top in ("bridge", "enrichers", "sinks", "query_api") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MEDIAN_FUNCTION_LINES = 8
MAX_POSITIONAL = 5
# Functions by name that may be longer or wider, each with its reason. This list only shrinks.
LONG = {
    "bridge/telemetry.py:__init__": "one line a metric, read as a table",
}
WIDE = {
    "bridge/deliver.py:__init__": "the parts of a lane are given to it, not looked up",
}
KAFKA_PARTS = ("appender", "client", "connection", "consumer", "gather", "lag", "letters", "reader", "zstd")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[tuple[str, Function]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield f"{path.relative_to(ROOT)}:{node.name}", node


def lines_of(node: Function) -> int:
    """Lines of the body without its docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    """No file grows past what one can hold in mind."""
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


def test_functions_stay_short() -> None:
    """No function is longer than a screen, and half of them are a handful of lines."""
    sizes = {name: lines_of(node) for path in SOURCES for name, node in functions(path)}
    assert not {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES and name not in LONG}
    assert statistics.median(sizes.values()) <= MAX_MEDIAN_FUNCTION_LINES


def test_functions_take_few_arguments() -> None:
    """More than five positional parameters are a value that has no name yet."""
    wide = {
        name
        for path in SOURCES
        for name, node in functions(path)
        if len([a for a in node.args.args if a.arg not in ("self", "cls")]) > MAX_POSITIONAL
    }
    assert wide <= set(WIDE)


def test_every_test_says_what_it_promises() -> None:
    """A test without a sentence is a test nobody can judge."""
    silent = [
        name
        for path in TESTS
        for name, node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_module_says_what_lives_there() -> None:
    """Every source file opens with its purpose."""
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


@pytest.mark.parametrize(
    ("client", "homes"),
    [
        ("grpc", {f"bridge/otlp/{name}.py" for name in ("grpc", "grpc_aio", "grpc_queue", "status")}),
        ("prometheus_client", {"bridge/telemetry.py", "bridge/admin.py", "bridge/ledger.py"}),
        (
            "clickhouse_connect",
            {"sinks/clickhouse.py", *(f"query_api/clickhouse_{kind}.py" for kind in ("server", "embedded"))},
        ),
        ("jwt", {"query_api/auth/jwt.py"}),
        (
            "pydantic",
            {
                f"bridge/settings{part}.py"
                for part in (
                    "",
                    "_auth",
                    "_client",
                    "_costs",
                    "_dual",
                    "_links",
                    "_migration",
                    "_opensearch",
                    "_query",
                    "_receive",
                )
            },
        ),
        ("opensearchpy", {"bridge/opensearch.py"}),
        ("rich", {"bridge/cli/render.py"}),
        ("ptars", {"bridge/columns/decode.py"}),
        (
            "aiokafka",
            {f"bridge/log/kafka_{part}.py" for part in KAFKA_PARTS} | {"bridge/app.py"},
        ),
    ],
)
def test_each_client_is_met_in_one_place(client: str, homes: set[str]) -> None:
    """A third-party client is imported where its adapter is and nowhere else."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            if any(name.split(".")[0] == client for name in names):
                found.add(str(path.relative_to(ROOT)))
    assert found <= homes
