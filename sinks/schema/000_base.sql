-- What every step needs first.
CREATE DATABASE IF NOT EXISTS $database$on_cluster;
CREATE TABLE IF NOT EXISTS $database.headrace_schema$on_cluster
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3) DEFAULT now64(3)
)
ENGINE = $merge_tree
ORDER BY number;
