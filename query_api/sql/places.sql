-- Where the tenant's telemetry comes from, under the name it was last seen with.
SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName,
    argMax(OrgName, LastSeen), argMax(ProjectName, LastSeen), argMax(ComponentName, LastSeen),
    argMax(EnvironmentName, LastSeen), toUnixTimestamp(max(LastSeen)) * 1000000000
FROM $database.places
WHERE (OrgId IN {orgs:Array(String)} OR {is_unbound:Bool})
GROUP BY OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName
ORDER BY OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName
LIMIT {limit:UInt64}
