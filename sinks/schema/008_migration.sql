-- What `headrace migrate` and the query API have done and decided, as events: the last one of a (Kind, Key) is in force.
CREATE TABLE IF NOT EXISTS $database.headrace_migration$on_cluster
(
    At DateTime64(6) DEFAULT now64(6),
    Kind LowCardinality(String),
    Key String,
    Value String CODEC(ZSTD(1)),
    By String
)
ENGINE = $merge_tree
ORDER BY (Kind, Key, At);
