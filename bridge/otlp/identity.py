"""Who sends: from a bearer token or a client certificate's SPIFFE id to a data plane of the catalog.

The organisation is never read from here: the plane says which ones it may write, the enricher holds claims against it.
"""

from collections.abc import Sequence

from bridge.errors import PermissionDenied, Unauthenticated
from enrichers.catalog import Catalog, DataPlane

_SCHEME = "bearer "


def token_of(authorization: str | None) -> str | None:
    """The token of an `Authorization` value: `Bearer <token>`, or ClickStack's bare `<token>`."""
    if not authorization or not authorization.strip():
        return None
    if authorization[: len(_SCHEME)].lower() == _SCHEME:
        return authorization[len(_SCHEME) :].strip() or None
    return authorization.strip()


def spiffe_ids_of(names: Sequence[str]) -> list[str]:
    """The SPIFFE ids among a certificate's URI names."""
    return [name for name in names if name.startswith("spiffe://")]


def authenticate(
    catalog: Catalog, local: DataPlane | None, authorization: str | None, uris: Sequence[str]
) -> DataPlane:
    """The data plane of a request. With `local` set there is no catalog and every caller is it.

    Raises `Unauthenticated`: no credential, or a token nobody has. Raises `PermissionDenied`: a certificate we trust
    whose SPIFFE id belongs to no data plane, or a token and a certificate of different ones.
    """
    if local is not None:
        return local
    token = token_of(authorization)
    by_token = catalog.plane_of_token(token) if token else None
    if token and by_token is None:
        raise Unauthenticated("unknown bearer token")
    ids = spiffe_ids_of(uris)
    if not ids:
        if by_token is None:
            raise Unauthenticated("no credential: send 'Authorization: Bearer <token>' or a client certificate")
        return by_token
    planes = [catalog.plane_of_spiffe_id(uri) for uri in ids]
    by_certificate = next((plane for plane in planes if plane is not None), None)
    if by_certificate is None and by_token is None:
        raise PermissionDenied(f"no data plane has the SPIFFE id {ids[0][:200]}")
    if by_certificate is not None and by_token is not None and by_certificate.id != by_token.id:
        raise PermissionDenied("token and client certificate belong to different data planes")
    plane = by_token or by_certificate
    assert plane is not None  # noqa: S101 - one of the two is set
    return plane
