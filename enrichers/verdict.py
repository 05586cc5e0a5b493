"""What an enricher says of a resource."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything under the resource belongs: canonical ids, empty where nothing is known but the organisation."""

    org: str
    project: str = ""
    component: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why nothing under the resource is stored: a short constant for metrics, a sentence for the sender."""

    reason: str
    message: str
