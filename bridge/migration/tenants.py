"""How many documents each organisation has, by stretches of time: counted by OpenSearch from the labels that say so.

Only the organisation's own spellings are looked at, and the enricher says which canonical id they stand for. Documents
without any belong to the data plane's default organisation, as they would if they came today.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from bridge.documents import OWN, Family, Layout
from bridge.migration.convert import Converter
from bridge.migration.read_opensearch import Source, org_fields
from bridge.model import Signal

MAX_PAGE: Final = 10_000
OWN_ORG: Final = f"{OWN}.org"
_LABELS: Final = (
    *("openchoreo.dev/namespace-uid", "openchoreo.dev/namespace", "openchoreo_dev/namespace-uid"),
    *("openchoreo_dev/namespace", "organization-id", "organization-name"),
)
_ATTRIBUTES: Final = ("organization.id", "openchoreo.dev/namespace-uid", "openchoreo.dev/namespace")


def spellings(layout: Layout, signal: Signal) -> dict[str, str]:
    """Paths of documents that say whose they are, and the resource attribute that each becomes."""
    if signal is Signal.LOGS:
        return {f"kubernetes.labels.{label}": f"k8s.pod.label.{label}" for label in _LABELS}
    if layout.family is Family.A:
        return {f"resource.attributes.{key.replace('.', '@')}": key for key in _ATTRIBUTES}
    return {f"resource.{key}": key for key in _ATTRIBUTES}


async def counted(
    source: Source, converter: Converter, indices: str, start: int, end: int, *, interval: str = "1m"
) -> Counter[tuple[str, int]]:
    """Documents by canonical organisation and stretch, in Unix seconds; times are Unix milliseconds [start, end).

    An organisation that the enricher refuses is told as "". Raises `OpenSearchError`.
    """
    said = spellings(source.layout, source.signal)
    fields = await org_fields(source.client, indices, list(said))
    names = {name: said[name.removesuffix(".keyword")] for name in fields}
    own = await org_fields(source.client, indices, [OWN_ORG])
    found: Counter[tuple[str, int]] = Counter()
    known: dict[tuple[tuple[str, str], ...], str] = {}
    async for key, documents in source.composite(indices, start, end, [*own, *names], interval):
        claims = {names[field]: value for field, value in _texts(key).items() if field in names}
        org = next((str(key[field]) for field in own if key.get(field) is not None), None)
        if org is None:
            named = tuple(sorted(claims.items()))
            if named not in known:
                known[named] = converter.organization_of(claims)
            org = known[named]
        found[org, int(key[TIME]) // 1000] += documents
    return found


TIME: Final = "time"


def _texts(key: Mapping[str, Any]) -> dict[str, str]:
    return {field: value for field, value in key.items() if isinstance(value, str)}
