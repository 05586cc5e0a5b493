-- Spans, the earliest or the latest first.
SELECT TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, toUnixTimestamp64Nano(Timestamp), Duration,
    StatusCode, StatusMessage, OrgId, ProjectId, ComponentId, EnvironmentId
    , SpanAttributes, ResourceAttributes                                                               --if attributes
FROM $database.otel_traces
--include _span_filter
ORDER BY
  Timestamp DESC, TraceId DESC, SpanId DESC                                                            --if down
  Timestamp, TraceId, SpanId                                                                           --if up
LIMIT {limit:UInt64}
