-- What every role instance counted, one row a minute, organisation and signal; see bridge/ledger.py. An instance tells its
-- whole count of a minute again whenever it has changed: max, so that telling it twice is no matter.
CREATE TABLE IF NOT EXISTS $database.ingest_ledger$on_cluster
(
    minute DateTime,
    org LowCardinality(String),
    signal LowCardinality(String),
    role LowCardinality(String),
    instance String,
    partition Int32,
    received SimpleAggregateFunction(max, UInt64),
    refused SimpleAggregateFunction(max, UInt64),
    rejected SimpleAggregateFunction(max, UInt64),
    appended SimpleAggregateFunction(max, UInt64),
    written SimpleAggregateFunction(max, UInt64),
    dead_lettered SimpleAggregateFunction(max, UInt64),
    started_at SimpleAggregateFunction(max, DateTime),
    heard_at SimpleAggregateFunction(max, DateTime),
    is_last SimpleAggregateFunction(max, UInt8),
    complete_until SimpleAggregateFunction(max, DateTime64(3))
)
ENGINE = $aggregating_merge_tree
PARTITION BY toStartOfWeek(minute)
ORDER BY (minute, org, signal, role, instance, partition)
TTL minute + INTERVAL $ledger_ttl_days DAY
SETTINGS $window;
