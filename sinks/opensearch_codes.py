"""What an error of OpenSearch means for the document or the batch that got it. By status and type, seldom by text.

As with ClickHouse (`sinks/codes.py`): retryable unless it is listed as caused by the document, with advice where an
operator can mend it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from bridge.errors import SinkUnavailable
from bridge.opensearch import NotReached, OpenSearchError, Refused

# These say that a document cannot be indexed as it is.
PERMANENT: Final = frozenset(
    {
        "mapper_parsing_exception",
        "illegal_argument_exception",
        "parse_exception",
        "parsing_exception",
        "x_content_parse_exception",
        "not_x_content_exception",
    }
)
# Texts of the same types that speak of the index.
OF_THE_INDEX: Final = (
    *("Limit of total fields", "no write index is defined", "pipeline with id"),
    "number of documents in the index cannot exceed",
)
# type: (reason for metrics, what to do)
RETRYABLE: Final[Mapping[str, tuple[str, str]]] = {
    "index_not_found_exception": ("schema", "the index is gone and may not be created: see action.auto_create_index"),
    "index_closed_exception": ("schema", "open the index"),
    "strict_dynamic_mapping_exception": ("schema", 'the index takes no new fields: set its "dynamic" to false'),
    "illegal_argument_exception": ("schema", "the index or its template was made by somebody else and does not fit"),
    "invalid_index_name_exception": ("schema", "check opensearch.logs_prefix and opensearch.spans_prefix"),
    "invalid_index_template_exception": ("schema", "check opensearch.logs_prefix and opensearch.spans_prefix"),
    "mapper_parsing_exception": ("schema", "the index or its template was made by somebody else and does not fit"),
    "routing_missing_exception": ("schema", "the index wants a routing, which Headrace does not give"),
    "validation_exception": ("shards", "delete old indices or raise cluster.max_shards_per_node"),
    "cluster_block_exception": ("readonly", "the index or the cluster is read-only"),
    "security_exception": ("rights", "opensearch.username lacks rights"),
    "rejected_execution_exception": ("throttled", "the nodes have too much to do"),
    "circuit_breaking_exception": ("memory", "the nodes are at their memory limit"),
    "unavailable_shards_exception": ("cluster", "shards are missing"),
    "no_shard_available_action_exception": ("cluster", "shards are missing"),
    "cluster_manager_not_discovered_exception": ("cluster", "the cluster has no manager"),
    "master_not_discovered_exception": ("cluster", "the cluster has no manager"),
    "process_cluster_event_timeout_exception": ("cluster", "the cluster's manager is behind"),
}
OF_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("credentials", "check opensearch.username and opensearch.password"),
    403: ("rights", "opensearch.username lacks rights"),
    408: ("timeout", "the nodes were too slow"),
    429: ("throttled", "the nodes have too much to do"),
    504: ("timeout", "the nodes were too slow"),
}


class Fate(Enum):
    """What becomes of a document after an answer."""

    WRITTEN = "written, now or by an earlier attempt"
    AGAIN = "to be sent again soon"
    REFUSED = "never to be taken as it is"
    WAITING = "not before somebody mends the store"


def fate_of(status: int, kind: str, reason: str) -> Fate:
    """Of one document of a bulk request: its status, and the type and reason of its error."""
    if status < 300 or status == 409:
        return Fate.WRITTEN
    if kind in ("cluster_block_exception", "unavailable_shards_exception"):  # the latter has been waited for
        return Fate.WAITING
    if kind in PERMANENT and not any(text in reason for text in OF_THE_INDEX):
        return Fate.REFUSED
    return Fate.AGAIN if status == 429 or status >= 500 else Fate.WAITING


def unavailable(status: int, kind: str, reason: str) -> SinkUnavailable:
    """The error to raise for an answer after which the whole batch has to wait."""
    name, advice = RETRYABLE.get(kind) or OF_STATUS.get(status) or ("server_error" if status >= 500 else "refused", "")
    if status == 401:
        name, advice = OF_STATUS[status]
    if "pipeline with id" in reason:
        advice = "make the ingest pipeline that the index names, or take it out of its settings"
    if kind == "cluster_block_exception" and "flood-stage" in reason:
        name, advice = "disk", "the nodes' disks are full"
    text = f"{kind or status}: {reason[:400]}"
    return SinkUnavailable(f"{advice}: {text}" if advice else text, reason=name)


def error_of(error: OpenSearchError) -> SinkUnavailable:
    """The error to raise for a call that failed."""
    if isinstance(error, NotReached):
        return SinkUnavailable(str(error)[:500], reason="timeout" if error.is_timeout else "connection")
    assert isinstance(error, Refused)  # noqa: S101 - there is no third
    return unavailable(error.status, error.kind, error.reason)


def refusal_of(error: Mapping[str, Any]) -> str:
    """Why a document was refused, naming the field where the server does, without the value."""
    reason = str(error.get("reason", "")).partition(" in document with id ")[0].partition(". Preview of")[0]
    if reason == "failed to parse":  # of a name, not a value
        reason = f"{reason}: {(error.get('caused_by') or {}).get('reason', '')}"
    return f"{error.get('type', '')}: {reason.partition(' (whose UTF8')[0][:400]}"
