-- How many traces touch the places, counted up to the cap.
SELECT count()
FROM (
    SELECT DISTINCT TraceId
    FROM $database.otel_traces
--include _span_filter
    AND TraceId != ''
    LIMIT {cap:UInt64}
)
