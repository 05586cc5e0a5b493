"""The answer's fields out of stored attributes: every spelling a sender may use, in one table for Python and SQL.

Kubernetes labels come bare or below a prefix, depending on who attached them (contract 4.1); what a view of the fork
took from log attributes (contract 3.3) is taken too, last.
"""

from collections.abc import Mapping
from typing import Final

from bridge.model import LABEL_PREFIXES

# Labels of Gen A that are told as labels also when they come bare.
BARE_LABELS: Final = frozenset(
    {
        *("component-name", "project-name", "environment-name", "organization-name"),
        *("component-id", "project-id", "environment-id", "deployment-name", "deployment-id", "deployment-track-name"),
        *("version", "version_id", "build-name", "uuid", "target", "pipeline-id", "run_id", "workflow_name"),
        *("managed-by", "belong-to"),
    }
)


def _labelled(*labels: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{label}" for label in labels for prefix in LABEL_PREFIXES)


# field: (resource attributes, log attributes), the first that is not empty counts
FIELDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "version": ((*_labelled("version"), "service.version"), ()),
    "version_id": ((*_labelled("version_id"), "version.id"), ()),
    "build_id": ((*_labelled("build-name"), "build.id"), ()),
    "build_uuid": ((*_labelled("uuid"), "build.uuid"), ()),
    "target": (_labelled("target"), ("log_type",)),
    "namespace": (("k8s.namespace.name",), ("namespace",)),
    "pod_id": (("k8s.pod.uid",), ("pod_id",)),
    "pod_name": (("k8s.pod.name",), ("pod_name",)),
    "container": (("k8s.container.name",), ("container_name", "container")),
    "vhost": ((), ("gateway_vhost",)),
    "api_id": ((), ("api_id",)),
    "api_version": ((), ("api_version",)),
}


def value_of(field: str, resource: Mapping[str, str], attributes: Mapping[str, str]) -> str:
    """The field of one row; empty if no spelling of it is there."""
    from_resource, from_attributes = FIELDS[field]
    for keys, values in ((from_resource, resource), (from_attributes, attributes)):
        for key in keys:
            if found := values.get(key):
                return found
    return ""


def sql_of(field: str) -> str:
    """The same as an expression of ClickHouse."""
    from_resource, from_attributes = FIELDS[field]
    found = [f"nullIf(ResourceAttributes['{key}'], '')" for key in from_resource]
    found += [f"nullIf(LogAttributes['{key}'], '')" for key in from_attributes]
    return f"coalesce({', '.join(found)}, '')"


def labels_of(resource: Mapping[str, str]) -> dict[str, str]:
    """Pod labels, without their prefix; a prefixed one wins over a bare one."""
    labels = {key: value for key, value in resource.items() if key in BARE_LABELS}
    for key, value in resource.items():
        for prefix in LABEL_PREFIXES[1:]:
            if key.startswith(prefix):
                labels[key.removeprefix(prefix)] = value
    return labels


def has_label(resource: Mapping[str, str], key: str, value: str) -> bool:
    """Whether an attribute of that name, bare or prefixed, is there with exactly this value."""
    return any(resource.get(f"{prefix}{key}") == value for prefix in LABEL_PREFIXES)
