-- How many spans match, counted up to the cap.
SELECT count()
FROM (
    SELECT 1
    FROM $database.otel_traces
--include _span_filter
    LIMIT {cap:UInt64}
)
