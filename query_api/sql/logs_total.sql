-- How many rows match, counted up to the cap.
SELECT count()
FROM (
    SELECT 1
    FROM $database.otel_logs
--include _log_filter
    LIMIT {cap:UInt64}
)
