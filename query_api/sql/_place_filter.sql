-- The places the tenant may read: they come first in every question to a large table, and are always there.
WHERE OrgId IN {orgs:Array(String)}
  AND OrgId = {org:String}                                                                             --if org
  AND ProjectId = {project:String}                                                                     --if project
  AND ComponentId = {component:String}                                                                 --if component
  AND (OrgId, ProjectId) IN {projects:Array(Tuple(String, String))}                                    --if projects
  AND (OrgId, ProjectId, ComponentId) IN {components:Array(Tuple(String, String, String))}             --if components
  AND (OrgId, EnvironmentId) IN {environments:Array(Tuple(String, String))}                            --if environments
