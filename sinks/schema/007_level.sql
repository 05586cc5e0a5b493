-- One canonical level a record (bridge/levels.py), worked out when it is written; for rows from before, when it is read.
ALTER TABLE $database.otel_logs$on_cluster ADD COLUMN IF NOT EXISTS Level LowCardinality(String) MATERIALIZED $level CODEC(ZSTD(1));
