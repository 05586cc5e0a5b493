"""Documents of others become OTLP, names of rows, and progress in words."""

from io import StringIO
from typing import Any

import pytest

from bridge.columns import to_table
from bridge.documents import leaves
from bridge.migration.identity import checksum, identities, missing
from bridge.migration.otlp import Unconvertible, log_record, span_of
from bridge.migration.progress import Progress, told
from bridge.model import Record, Signal
from tests.stored import NOON, Stored, place

SPAN: dict[str, Any] = {
    **{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "parentSpanId": ""},
    **{"name": "GET", "startTime": "2025-11-14T10:00:00.123456789Z", "endTime": "2025-11-14T10:00:01Z"},
}


def attributes_of(item: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in item.attributes}


def test_a_log_document_keeps_time_body_and_everything_it_has_beyond() -> None:
    """Nanoseconds, an offset, nested fields, numbers, lists; labels are the resource's and not told twice."""
    document = {
        **{"@timestamp": "2025-11-14T12:00:00.123456789+02:00", "log": "hello\n", "stream": "stderr"},
        **{"kubernetes": {"labels": {"x": "y"}}, "a": {"b.c": {"d": 1}}, "ok": True, "list": [1, "z"], "none": None},
    }
    record = log_record(document)
    assert record.time_unix_nano == NOON
    assert record.body.string_value == "hello\n"
    assert attributes_of(record) == {"log.iostream": "stderr", "a.b.c.d": "1", "ok": "true", "list": '[1,"z"]'}


def test_a_structured_body_stays_as_json() -> None:
    """Fluent Bit may have parsed the line; milliseconds of an epoch are a time too."""
    record = log_record({"@timestamp": 1_763_114_400_123, "log": {"msg": "x", "n": 1}})
    assert record.body.string_value == '{"msg":"x","n":1}'
    assert record.time_unix_nano == 1_763_114_400_123_000_000


@pytest.mark.parametrize("at", ["1969-12-31T23:59:59Z", "2097-01-01T00:00:00Z", "yesterday", None, {"a": 1}])
def test_a_time_that_cannot_be_stored_is_refused_with_the_time(at: object) -> None:
    """Nothing is moved to another time than it says."""
    with pytest.raises(Unconvertible, match="@timestamp"):
        log_record({"@timestamp": at, "log": "x"})


@pytest.mark.parametrize(
    ("more", "kind", "code"),
    [
        ({"kind": "SPAN_KIND_SERVER", "status": {"code": 2}}, 2, 2),
        ({"kind": "Client", "status": {"code": "Error"}}, 3, 2),
        ({"kind": "Consumer", "status": {"code": "STATUS_CODE_OK"}}, 5, 1),
        ({"kind": "?", "status": {"code": "?"}}, 0, 0),
        ({}, 0, 0),
    ],
)
def test_both_families_spell_kind_and_status(more: dict[str, Any], kind: int, code: int) -> None:
    """Data Prepper's and the exporter's words; unknown ones are unspecified."""
    span, _, _ = span_of({**SPAN, **more})
    assert (span.kind, span.status.code) == (kind, code)


@pytest.mark.parametrize("written", ["2025-11-14", "2025-11-14T10:00Z", "2025-11-14T10:00:00", "1763114400", ["x"]])
def test_a_time_in_a_format_of_the_index_is_what_the_store_has_understood(written: object) -> None:
    """It sorts by it, so it knows; a time that we can read keeps its nanoseconds."""
    milli = 1_763_114_400_123
    document = {"@timestamp": written, "log": "x"}
    assert log_record(document, milli).time_unix_nano == milli * 10**6
    exact = "2025-11-14T10:00:00.123456789Z"
    assert log_record({**document, "@timestamp": exact}, milli).time_unix_nano == milli * 10**6 + 456_789
    assert span_of({**SPAN, "startTime": written}, milli)[0].start_time_unix_nano == milli * 10**6


def test_a_span_of_the_exporter_keeps_resource_scope_events_and_links() -> None:
    """Dotted keys come as they are or as objects."""
    span, resource, scope = span_of(
        {
            **SPAN,
            "resource": {"service.name": "api", "k8s": {"pod": {"name": "api-0"}}},
            "attributes": {"http.method": "GET"},
            "events": [{"name": "e", "@timestamp": "2025-11-14T10:00:00.5Z", "attributes": {"a": 1}}],
            "links": [{"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "2", "attributes": {}}],
            "instrumentationScope": {"name": "lib", "version": "1"},
        }
    )
    assert resource == {"service.name": "api", "k8s.pod.name": "api-0"}
    assert attributes_of(span) == {"http.method": "GET"}
    assert (span.events[0].name, attributes_of(span.events[0])) == ("e", {"a": "1"})
    assert span.links[0].span_id.hex() == "0" * 15 + "2"
    assert scope == ("lib", "1")


def test_an_id_that_is_none_is_refused() -> None:
    """A span is found by its ids: a wrong one is not cut into shape."""
    with pytest.raises(Unconvertible, match="traceId"):
        span_of({**SPAN, "traceId": "not hexadecimal"})


def test_leaves_of_nothing_are_none() -> None:
    """An empty object and a null leave nothing."""
    assert list(leaves({"a": {}, "b": None}, "x")) == []


def test_rows_are_named_by_what_they_say() -> None:
    """Another time, organisation, pod or body is another name; the order of rows and their resources is no matter."""
    stored = Stored()
    for org, pod, body, at in (
        ("a", "p", "x", 0),
        ("b", "p", "x", 0),
        ("a", "q", "x", 0),
        ("a", "p", "y", 0),
        ("a", "p", "x", 1),
    ):
        stored.log(body, NOON + at, place(org, k8s__pod__name=pod))
    names = identities(table_of(stored), Signal.LOGS)
    assert len(set(names)) == 5
    again = Stored(logs=list(reversed(stored.logs)))
    assert identities(table_of(again), Signal.LOGS) == list(reversed(names))
    assert identities(table_of(stored).slice(2, 2), Signal.LOGS) == names[2:4]
    assert checksum(names) == checksum(reversed(names)) != checksum(names[1:])


def table_of(stored: Stored) -> Any:
    request = stored._logs_request()
    return to_table(Signal.LOGS, [Record(Signal.LOGS, "o", "p", NOON, 0, request.SerializeToString())])


def test_of_equal_rows_as_many_are_missing_as_there_are_too_few() -> None:
    """Rows that agree in everything are counted, not told apart."""
    assert missing([7, 8, 7, 7], {7: 1, 9: 4}) == [1, 2, 3]
    assert missing([7, 7], {7: 3}) == []


def test_progress_is_plain_lines_where_nobody_watches() -> None:
    """How many, how fast and how long still; documents of earlier runs make it no faster."""
    stream = StringIO()
    Progress(100, stream).add(40, "day one", is_old=True)
    assert not stream.getvalue()
    Progress(100, stream, plain_every_seconds=0.0).add(40, "day one", is_old=True)
    assert "0 of 60 documents" in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert told(50, 200, 10.0) == "50 of 200 documents, 5/s, 30 s left"
    assert told(0, 0, 0.0) == "0 of 0 documents, 0/s"
