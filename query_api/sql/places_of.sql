-- What a name or id stands for, within the tenant (by the filter on the table as well).
SELECT DISTINCT OrgId,
    ProjectId,                                                                                         --if by_project
    '',                                                                                                --if not_by_project
    ComponentId,                                                                                       --if by_component
    '',                                                                                                --if not_by_component
    EnvironmentId                                                                                      --if by_environment
    ''                                                                                                 --if not_by_environment
FROM $database.places
WHERE (OrgId IN {orgs:Array(String)} OR {is_unbound:Bool})
  AND (OrgId = {organization:String} OR OrgName = {organization:String})                               --if organization
  AND (ProjectId = {project:String} OR ProjectName = {project:String})                                 --if project
  AND (ComponentId IN {components:Array(String)} OR ComponentName IN {components:Array(String)})       --if components
  AND (EnvironmentId = {environment:String} OR EnvironmentName = {environment:String})                 --if environment
  AND ServiceName = {service:String}                                                                   --if service
ORDER BY ALL
LIMIT {limit:UInt64}
