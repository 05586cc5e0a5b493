"""docs/settings.md and docs/metrics.md, made from the source. `--check` fails if a file is not what would be made."""

import sys
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from bridge.settings import Settings
from bridge.telemetry import Metrics, WeightedHistogram

DOCS = Path(__file__).parent
NOTE = "<!-- made by `make docs` from {source}; do not edit -->"


def settings_page() -> str:
    """One table per section, in the order of the source."""
    lines = [
        "# Settings",
        "",
        NOTE.format(source="bridge/settings.py"),
        "",
        "A TOML file (`--config` or `HEADRACE_CONFIG`) and environment variables, which win:",
        "`HEADRACE_<SECTION>__<KEY>`, lists and tables as JSON. Unknown keys are errors, every mistake is told at once;"
        " `headrace config check` prints what is in force.",
        "",
    ]
    lines += _section("", Settings)
    return "\n".join(lines) + "\n"


def _section(name: str, model: type[BaseModel]) -> list[str]:
    rows, below = [], []
    for key, field in model.model_fields.items():
        path = f"{name}.{key}".removeprefix(".")
        inner = _inner_model(field.annotation)
        if inner is None:
            rows.append(f"| `{path}` | {_default(field)} | {field.description} |")
        elif isinstance(field.default, tuple):
            rows.append(f"| `{path}` | none | {field.description} Each: {_fields_of(inner)} |")
        else:
            below += _section(path, inner)
    title = f"## {name or 'General'}"
    text = [(model.__doc__ or "").strip(), ""] if name else []
    return [title, "", *text, "| key | default | what it does |", "|---|---|---|", *rows, "", *below]


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _fields_of(model: type[BaseModel]) -> str:
    return "; ".join(f"`{key}`: {field.description}" for key, field in model.model_fields.items())


def _default(field: Any) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, SecretStr):
        return "empty"
    if default is None or default == ():
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def metrics_page() -> str:
    """One table of every metric the program emits itself."""
    lines = ["# Metrics", "", NOTE.format(source="bridge/telemetry.py"), "", "On `/metrics` of the admin port, beside"]
    lines += ["the usual `process_*` and `python_*` ones. Items are spans or log records.", ""]
    lines += ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            suffix = "_total" if isinstance(metric, Counter) else ""
            labels = ", ".join(metric._labelnames)
            lines.append(f"| `{metric._name}{suffix}` | {metric._type} | {labels} | {metric._documentation} |")
        elif isinstance(metric, WeightedHistogram):
            labels = ", ".join(metric.labelnames)
            lines.append(f"| `{metric.name}` | histogram | {labels} | {metric.documentation} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    pages = {DOCS / "settings.md": settings_page(), DOCS / "metrics.md": metrics_page()}
    if "--check" not in arguments:
        for path, text in pages.items():
            path.write_text(text)
        return 0
    stale = [str(path) for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if stale:
        sys.stderr.write(f"not what `make docs` makes: {', '.join(stale)}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
