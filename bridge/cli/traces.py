"""`headrace traces component|show`: the newest traces of a component, and one of them as a waterfall."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.cli.moments import Window, rfc3339
from bridge.cli.observer import BadAnswer, Observer
from bridge.cli.output import JSON, Output, note
from bridge.cli.waterfall import span_of, waterfall
from bridge.errors import SettingsInvalid

MAX_TRACES: Final = 1000  # of one question
MAX_SPANS: Final = 10_000  # the same


@dataclass(frozen=True, slots=True)
class TracesAsked:
    """The newest traces of a scope; `is_failed`: of at most `MAX_TRACES` looked at, those with an error."""

    scope: Mapping[str, str]
    window: Window
    limit: int = 20
    is_failed: bool = False


def organisation_of(component: str, places: Iterable[Mapping[str, Any]]) -> str:
    """The one organisation that has this component. Raises `SettingsInvalid` if there is none, or several."""
    orgs = sorted(
        {
            str(place.get("organizationId"))
            for place in places
            if component in (place.get("componentId"), place.get("componentName"))
        }
    )
    if len(orgs) != 1:
        found = f"{len(orgs)} organisations have" if orgs else "no organisation that you may read has"
        named = f": {', '.join(orgs[:10])}" if orgs else ""
        raise SettingsInvalid(f"{found} a component {component!r}{named}; name one with --org")
    return orgs[0]


def show_traces(observer: Observer, asked: TracesAsked, output: Output) -> int:
    """0, also when nothing was found. Raises `AskFailed`, or `SettingsInvalid` if the organisation is not clear."""
    scope = dict(asked.scope)
    if not scope.get("namespace"):
        scope["namespace"] = organisation_of(scope.get("component", ""), observer.places())
    bounds = (("startTime", asked.window.start_unix_nano), ("endTime", asked.window.end_unix_nano))
    answer = observer.traces(
        {
            **{key: rfc3339(at) for key, at in bounds if at is not None},
            "limit": MAX_TRACES if asked.is_failed else asked.limit,
            "sortOrder": "desc",
            "searchScope": scope,
        }
    )
    found = [row for row in answer.rows if row.get("hasErrors")] if asked.is_failed else list(answer.rows)
    shown = found[: asked.limit]
    if output.kind == JSON:
        output.show_json(shown)
    elif shown:
        output.screen.show_traces(shown)
    _tell(asked, len(shown), len(found), len(answer.rows), answer.total)
    return 0


def _tell(asked: TracesAsked, shown: int, found: int, read: int, total: int) -> None:
    if not shown:
        note(f"nothing found {asked.window}")
    if found > shown:
        note(f"{found - shown:,} more with an error; show them with --limit")
    if asked.is_failed and total > read:
        note(f"only the newest {read:,} of {total:,} traces were looked at; --from and --to reach others")
    elif not asked.is_failed and total > shown:
        note(f"{total - shown:,} older traces match; show them with --limit or --to")


def show_trace(
    observer: Observer, trace_id: str, scope: Mapping[str, str], output: Output, *, has_attributes: bool
) -> int:
    """0, or 1 if there is no such trace to be read. Raises `AskFailed`."""
    body: dict[str, Any] = {"limit": MAX_SPANS, "sortOrder": "asc", "includeAttributes": has_attributes}
    if scope:
        body["searchScope"] = dict(scope)
    answer = observer.spans(trace_id, body)
    if not answer.rows:
        note(f"there is no trace {trace_id} that you may read; its spans may not be in the store yet, or not any more")
        return 1
    if output.kind == JSON:
        output.show_json(answer.rows)
    else:
        try:
            spans = [span_of(trace_id, row) for row in answer.rows]
        except ValueError as error:
            raise BadAnswer(observer.url, f"a span without a readable time ({error})") from error
        output.screen.show_waterfall(trace_id, waterfall(spans), has_attributes=has_attributes)
    if answer.total > len(answer.rows):
        note(f"{answer.total - len(answer.rows):,} more spans of this trace are not shown")
    return 0
