"""Callers where nobody is authenticated: on loopback, and on an adapter's port behind a network policy."""

from collections.abc import Mapping, Sequence
from typing import Final

from query_api.errors import NotAllowed
from query_api.tenant import ANY_ACTION, EVERYTHING, Caller

ADAPTER: Final = Caller("adapter", ((ANY_ACTION, EVERYTHING),))
LOCAL: Final = Caller("local", ((ANY_ACTION, EVERYTHING),))
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class LocalCallers:
    """Everybody on this machine. A page in its browser is not: it comes under a name of its own (DNS rebinding)."""

    async def caller_of(self, headers: Mapping[str, str], uris: Sequence[str]) -> Caller:
        """`LOCAL`. Raises `NotAllowed` for another Host than this machine's."""
        host = headers.get("Host", "")
        name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        if name.lower() not in _LOCAL_NAMES:
            raise NotAllowed("without query.auth only this machine may ask, as 127.0.0.1 or localhost")
        return LOCAL


class AdapterCallers:
    """Whoever reaches the port (query.adapters.trust_network)."""

    async def caller_of(self, headers: Mapping[str, str], uris: Sequence[str]) -> Caller:
        """`ADAPTER`."""
        return ADAPTER
