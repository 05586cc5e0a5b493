-- Where telemetry comes from, and what those places are called: what the query API looks names up in. The names are part
-- of the key, so that a place that was renamed is found under both. Telling it twice is no matter.
-- Rows of other writers may have no ReceivedAt: they count as seen when they are written.
CREATE TABLE IF NOT EXISTS $database.places$on_cluster
(
    OrgId LowCardinality(String),
    ProjectId LowCardinality(String),
    ComponentId LowCardinality(String),
    EnvironmentId LowCardinality(String),
    ServiceName LowCardinality(String),
    OrgName LowCardinality(String),
    ProjectName LowCardinality(String),
    ComponentName LowCardinality(String),
    EnvironmentName LowCardinality(String),
    FirstSeen SimpleAggregateFunction(min, DateTime),
    LastSeen SimpleAggregateFunction(max, DateTime)
)
ENGINE = $aggregating_merge_tree
ORDER BY (OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, OrgName, ProjectName, ComponentName, EnvironmentName)
TTL LastSeen + INTERVAL $ledger_ttl_days DAY
SETTINGS index_granularity = 1024, $window;
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.places_of_logs_mv$on_cluster
TO $database.places
AS SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName,
    ResourceAttributes['organization.name'] AS OrgName, ResourceAttributes['project.name'] AS ProjectName,
    ResourceAttributes['component.name'] AS ComponentName,
    ResourceAttributes['environment.name'] AS EnvironmentName,
    min(if(toUnixTimestamp(ReceivedAt) = 0, now(), toDateTime(ReceivedAt))) AS FirstSeen,
    max(if(toUnixTimestamp(ReceivedAt) = 0, now(), toDateTime(ReceivedAt))) AS LastSeen
FROM $database.otel_logs
GROUP BY OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, OrgName, ProjectName, ComponentName, EnvironmentName;
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.places_of_traces_mv$on_cluster
TO $database.places
AS SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName,
    ResourceAttributes['organization.name'] AS OrgName, ResourceAttributes['project.name'] AS ProjectName,
    ResourceAttributes['component.name'] AS ComponentName,
    ResourceAttributes['environment.name'] AS EnvironmentName,
    min(if(toUnixTimestamp(ReceivedAt) = 0, now(), toDateTime(ReceivedAt))) AS FirstSeen,
    max(if(toUnixTimestamp(ReceivedAt) = 0, now(), toDateTime(ReceivedAt))) AS LastSeen
FROM $database.otel_traces
GROUP BY OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, OrgName, ProjectName, ComponentName, EnvironmentName;
-- What was there before; by id only, for reading every row's attributes would take hours on a large table.
INSERT INTO $database.places (OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, FirstSeen, LastSeen)
SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, min(toDateTime(Timestamp)), max(toDateTime(Timestamp))
FROM $database.otel_logs GROUP BY OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName;
INSERT INTO $database.places (OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, FirstSeen, LastSeen)
SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, min(toDateTime(Timestamp)), max(toDateTime(Timestamp))
FROM $database.otel_traces GROUP BY OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName;
