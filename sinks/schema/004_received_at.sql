-- When the bridge received the item: what the ledger is checked by, and how late it was.
ALTER TABLE $database.otel_logs$on_cluster ADD COLUMN IF NOT EXISTS ReceivedAt DateTime64(3) CODEC(Delta(8), ZSTD(1));
ALTER TABLE $database.otel_logs$on_cluster ADD INDEX IF NOT EXISTS idx_received_at ReceivedAt TYPE minmax GRANULARITY 1;
ALTER TABLE $database.otel_traces$on_cluster ADD COLUMN IF NOT EXISTS ReceivedAt DateTime64(3) CODEC(Delta(8), ZSTD(1));
ALTER TABLE $database.otel_traces$on_cluster ADD INDEX IF NOT EXISTS idx_received_at ReceivedAt TYPE minmax GRANULARITY 1;
