"""Why a caller is not known, and what it is told: never anything of the credential itself."""

from typing import Final

from query_api.errors import NotAuthenticated

MISSING: Final = "missing"
MALFORMED: Final = "malformed"
UNKNOWN_TOKEN: Final = "unknown_token"  # noqa: S105 - a reason
UNKNOWN_SPIFFE_ID: Final = "unknown_spiffe_id"
BAD_ALGORITHM: Final = "bad_algorithm"
UNKNOWN_KEY: Final = "unknown_key"
BAD_SIGNATURE: Final = "bad_signature"
WRONG_ISSUER: Final = "wrong_issuer"
WRONG_AUDIENCE: Final = "wrong_audience"
EXPIRED: Final = "expired"
NOT_YET_VALID: Final = "not_yet_valid"

MESSAGES: Final = {
    MISSING: "no credential: send 'Authorization: Bearer <token>' or show a client certificate",
    MALFORMED: "the credential is malformed",
    UNKNOWN_TOKEN: "nobody has this bearer token",
    UNKNOWN_SPIFFE_ID: "the SPIFFE id of the client certificate belongs to nobody here",
    BAD_ALGORITHM: "the token is signed with an algorithm that is not taken here",
    UNKNOWN_KEY: "the token is signed with a key that the identity provider does not publish",
    BAD_SIGNATURE: "the token's signature does not hold",
    WRONG_ISSUER: "the token is from another issuer",
    WRONG_AUDIENCE: "the token is for another audience",
    EXPIRED: "the token has expired: get a new one",
    NOT_YET_VALID: "the token is not valid yet: check the clocks",
}


def refusal(reason: str, detail: str = "") -> NotAuthenticated:
    """The error of a reason; `detail` is our own words, never the caller's."""
    message = MESSAGES[reason]
    return NotAuthenticated(f"{message}: {detail}" if detail else message, reason)
