"""What an answer of OpenSearch means for a document and for a batch."""

import pytest

from bridge.documents import Family, layout_of
from bridge.model import Signal
from bridge.opensearch import NotReached, Refused
from sinks.opensearch_bulk import cut
from sinks.opensearch_codes import Fate, error_of, fate_of, refusal_of
from sinks.opensearch_schema import additions
from sinks.opensearch_templates import mapping


@pytest.mark.parametrize(
    ("status", "kind", "reason", "fate"),
    [
        (201, "", "", Fate.WRITTEN),
        (409, "version_conflict_engine_exception", "document already exists", Fate.WRITTEN),
        (429, "rejected_execution_exception", "rejected", Fate.AGAIN),
        (503, "unavailable_shards_exception", "primary shard is not active", Fate.WAITING),
        (500, "", "", Fate.AGAIN),
        (400, "mapper_parsing_exception", "failed to parse field [x] of type [long]", Fate.REFUSED),
        (400, "illegal_argument_exception", 'immense term in field="x"', Fate.REFUSED),
        (400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded", Fate.WAITING),
        (400, "illegal_argument_exception", "no write index is defined for alias [x]", Fate.WAITING),
        (400, "illegal_argument_exception", "pipeline with id [x] does not exist", Fate.WAITING),
        (400, "illegal_argument_exception", "number of documents in the index cannot exceed 2147483519", Fate.WAITING),
        (400, "something_new_exception", "", Fate.WAITING),
        (404, "index_not_found_exception", "no such index", Fate.WAITING),
        (429, "cluster_block_exception", "flood-stage watermark", Fate.WAITING),
    ],
)
def test_a_document_is_given_up_only_for_what_is_listed(status: int, kind: str, reason: str, fate: Fate) -> None:
    """Everything nobody listed waits, since losing accepted data to a guess would be wrong."""
    assert fate_of(status, kind, reason) is fate


@pytest.mark.parametrize(
    ("status", "kind", "reason", "advice"),
    [
        (401, "security_exception", "credentials", "opensearch.password"),
        (403, "security_exception", "rights", "lacks rights"),
        (400, "validation_exception", "shards", "max_shards_per_node"),
        (503, "cluster_manager_not_discovered_exception", "cluster", "manager"),
        (429, "", "throttled", "too much"),
        (502, "", "server_error", "502"),
    ],
)
def test_what_an_operator_mends_has_a_reason_and_advice(status: int, kind: str, reason: str, advice: str) -> None:
    """The reason for metrics, the advice for people."""
    error = error_of(Refused(status, kind, "text"))
    assert error.reason == reason
    assert advice in str(error)


@pytest.mark.parametrize(("is_timeout", "reason"), [(True, "timeout"), (False, "connection")])
def test_no_answer_is_a_connection_or_a_timeout(is_timeout: bool, reason: str) -> None:
    """What was asked may be done; it is harmless to ask again."""
    assert error_of(NotReached("no answer", is_timeout=is_timeout)).reason == reason


def test_a_refusal_names_the_field_and_not_the_value() -> None:
    """A value may be anything that a tenant wrote."""
    reason = "failed to parse field [a] of type [long] in document with id 'x'. Preview of field's value: 'secret'"
    error = {"type": "mapper_parsing_exception", "reason": reason, "caused_by": {"reason": 'input "secret"'}}
    assert refusal_of(error) == "mapper_parsing_exception: failed to parse field [a] of type [long]"


def test_bodies_hold_every_line_once_and_no_more_bytes_than_allowed() -> None:
    """Except a line that is larger than a body, which goes alone."""
    lines = [bytes(size) for size in (4, 4, 4, 30, 1, 9, 10)]
    assert list(cut(lines, 10)) == [(lines[0], lines[1]), (lines[2],), (lines[3],), (lines[4], lines[5]), (lines[6],)]
    assert list(cut([], 10)) == []


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("signal", [Signal.LOGS, Signal.TRACES])
def test_nothing_is_added_to_an_index_that_has_all(family: Family, signal: Signal) -> None:
    """Nor does anything that is added keep documents of others from being indexed."""
    wanted = mapping(layout_of(family), signal, ())["properties"]
    assert additions(wanted, wanted) == {}
    added = additions(wanted, {})
    assert added["headrace"] == wanted["headrace"]
    assert "dynamic" not in str({name: field for name, field in added.items() if name != "headrace"})
    assert "enabled" not in str({name: field for name, field in added.items() if name != "headrace"})
