-- From a trace id to its time, so that opening a trace reads minutes and not days. Its window makes repeats harmless.
CREATE TABLE IF NOT EXISTS $database.otel_traces_trace_id_ts$on_cluster
(
    OrgId LowCardinality(String) CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Start SimpleAggregateFunction(min, DateTime64(9)) CODEC(ZSTD(1)),
    End SimpleAggregateFunction(max, DateTime64(9)) CODEC(ZSTD(1))
)
ENGINE = $aggregating_merge_tree
PARTITION BY toStartOfWeek(Start)
ORDER BY (OrgId, TraceId)
TTL toDate(Start) + INTERVAL $traces_ttl_days DAY
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, $window;
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.otel_traces_trace_id_ts_mv$on_cluster
TO $database.otel_traces_trace_id_ts
AS SELECT OrgId, TraceId, min(Timestamp) AS Start, max(Timestamp) AS End
FROM $database.otel_traces
WHERE TraceId != ''
GROUP BY OrgId, TraceId;
