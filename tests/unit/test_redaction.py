"""Secrets that are configured away are nowhere in what is stored."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from bridge.model import OTLP_SIGNALS
from enrichers.redaction import RedactionRules, mentions, redact
from tests.otlp_strategies import REQUESTS

RULES = RedactionRules.of({"password": "drop", "user.email": "hash"}, salt="pepper")
SECRET = "hunter2-is-the-secret"


def secret(key: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=SECRET))


def nested(key: str) -> KeyValue:
    pair = KeyValue(key="outer")
    pair.value.array_value.values.add().kvlist_value.values.append(secret(key))
    return pair


def everywhere(key: str) -> tuple[ExportTraceServiceRequest, ExportLogsServiceRequest]:
    """The secret in every place of both signals that has attributes, plain and nested."""
    both = [secret(key), nested(key)]
    traces, logs = ExportTraceServiceRequest(), ExportLogsServiceRequest()
    entry = traces.resource_spans.add()
    scope = entry.scope_spans.add()
    span = scope.spans.add(attributes=both)
    span.events.add(attributes=both)
    span.links.add(attributes=both)
    entry.resource.attributes.extend(both)
    scope.scope.attributes.extend(both)
    log_entry = logs.resource_logs.add()
    log_scope = log_entry.scope_logs.add()
    log_entry.resource.attributes.extend(both)
    log_scope.scope.attributes.extend(both)
    record = log_scope.log_records.add(attributes=both)
    record.body.kvlist_value.values.extend(both)
    return traces, logs


def test_a_dropped_key_is_gone_from_every_place() -> None:
    """Resource, scope, item, event, link and body, also inside lists and maps."""
    for request, places in zip(everywhere("password"), (10, 8), strict=True):
        assert redact(request, RULES) == places
        assert SECRET.encode() not in request.SerializeToString()
        assert b"password" not in request.SerializeToString()


def test_a_hashed_key_keeps_only_a_salted_hash() -> None:
    """Equal values hash equally, another salt hashes otherwise, and the value itself is gone."""
    traces, _ = everywhere("user.email")
    redact(traces, RULES)
    assert SECRET.encode() not in traces.SerializeToString()
    hashes = {
        pair.value.string_value for pair in traces.resource_spans[0].resource.attributes if pair.key == "user.email"
    }
    again, _ = everywhere("user.email")
    redact(again, RedactionRules.of({"user.email": "hash"}, salt="other"))
    others = {
        pair.value.string_value for pair in again.resource_spans[0].resource.attributes if pair.key == "user.email"
    }
    assert len(hashes) == len(others) == 1
    assert hashes != others
    assert next(iter(hashes)).startswith("sha256:")


@given(st.sampled_from(list(OTLP_SIGNALS)).flatmap(lambda signal: REQUESTS[signal]))
def test_a_request_that_does_not_mention_the_keys_is_left_alone(request: object) -> None:
    """The cheap look at the bytes never misses what the walk would find."""
    rules = RedactionRules.of({"a": "drop", "z\u00e9": "hash"}, salt="")
    message = request
    raw = message.SerializeToString()  # type: ignore[attr-defined]
    changed = redact(message, rules)
    if not mentions(raw, rules):
        assert changed == 0
    after = message.SerializeToString()  # type: ignore[attr-defined]
    assert (after == raw) == (changed == 0)
    assert not mentions(after, RedactionRules.of({"z\u00e9x": "drop"}, salt=""))


def test_no_rules_cost_nothing() -> None:
    """Without rules nothing is looked for."""
    assert not RedactionRules()
    assert not mentions(b"anything", RedactionRules())
