-- Whether this server keeps a query log that we may read.
SELECT count() FROM system.tables WHERE database = 'system' AND name = 'query_log'
