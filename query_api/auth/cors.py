"""Cross-origin answers (Fetch standard; contract 1.12.4), as upstream's Observer gives them. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

_METHODS: Final = "GET, POST, PUT, DELETE, OPTIONS"
_REQUEST_HEADERS: Final = "Content-Type, Authorization, X-Original-Authorization, X-Request-Id"
_ANSWER_HEADERS: Final = "X-Complete-Until, X-Next-Cursor, X-Request-Id, X-Row-Limit, X-Total-Capped"
_MAX_AGE_SECONDS: Final = "3600"


@dataclass(frozen=True, slots=True)
class CorsAnswer:
    """`headers` go onto every answer, errors too. `is_preflight`: answer 204 with them and nothing else, before any
    credential is asked for, since browsers send none with a preflight."""

    headers: Mapping[str, str] = field(default_factory=dict)
    is_preflight: bool = False


def cors_answer(method: str, headers: Mapping[str, str], allowed_origins: Collection[str]) -> CorsAnswer:
    """What an answer to a request says about other origins; to one that is not allowed only that it may differ.

    `headers` of the request in any case; `allowed_origins` are `Cors.allowed_origins`, none: CORS is off.
    """
    if not allowed_origins:
        return CorsAnswer()
    origins = [value for name, value in headers.items() if name.lower() == "origin"]
    asks = any(name.lower() == "access-control-request-method" for name in headers)
    is_preflight = method == "OPTIONS" and asks and bool(origins)
    answer = {"Vary": "Origin"}
    if len(origins) == 1 and origins[0] in allowed_origins:
        answer |= _allowed(origins[0], is_preflight=is_preflight)
    return CorsAnswer(answer, is_preflight)


def _allowed(origin: str, *, is_preflight: bool) -> dict[str, str]:
    answer = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
    if not is_preflight:
        return answer | {"Access-Control-Expose-Headers": _ANSWER_HEADERS}
    return answer | {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": _MAX_AGE_SECONDS,
    }
