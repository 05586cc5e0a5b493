-- By organisation and signal: items received in the last whole minute that was told.
SELECT org, signal, sumIf(received, minute = newest)
FROM (
    SELECT org, signal, minute, sum(received) AS received, toStartOfMinute(now()) - INTERVAL 1 MINUTE AS newest
    FROM (
        SELECT org, signal, minute, instance, partition, max(received) AS received
        FROM $database.ingest_ledger
        WHERE minute >= now() - INTERVAL 1 DAY AND org != '' AND (org IN {orgs:Array(String)} OR {is_unbound:Bool})
        GROUP BY org, signal, minute, instance, partition
    )
    GROUP BY org, signal, minute
)
GROUP BY org, signal
ORDER BY org, signal
LIMIT 1000
