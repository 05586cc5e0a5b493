"""A validation's report: what it says, and a seal that shows whether it is still what was written. Pure."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

SEAL: Final = "seal"


def sealed(report: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    """The report with its seal: an HMAC where there is a key, a checksum where there is none."""
    return {**report, SEAL: _seal(report, key)}


def is_genuine(report: Mapping[str, Any], key: bytes | None) -> bool:
    """Whether nothing was changed since it was sealed, with this key."""
    given = report.get(SEAL)
    return isinstance(given, str) and hmac.compare_digest(given, _seal(report, key))


def _seal(report: Mapping[str, Any], key: bytes | None) -> str:
    text = json.dumps({name: value for name, value in report.items() if name != SEAL}, sort_keys=True).encode()
    if key is None:
        return f"sha256:{hashlib.sha256(text).hexdigest()}"
    return f"hmac-sha256:{hmac.new(key, text, hashlib.sha256).hexdigest()}"
