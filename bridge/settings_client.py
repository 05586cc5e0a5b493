"""Settings of the commands that ask the query API (`headrace logs`, `headrace traces`)."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, SecretStr, model_validator

from bridge.errors import SettingsInvalid
from bridge.settings_receive import Section


def _base_url(value: str) -> str:
    """Without a slash at its end. Raises `ValueError` if a path could not be put behind it."""
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "@" in value or "?" in value or "#" in value or not value.isprintable() or " " in value:
        raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT], without user, query or fragment")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


class Client(Section):
    """`headrace logs` and `headrace traces`: which query API they ask, and as whom."""

    url: BaseUrl = Field(default="http://127.0.0.1:9097", description="Of the query API.", validate_default=True)
    token: SecretStr = Field(default=SecretStr(""), description="Sent as `Authorization: Bearer`; empty: none is sent.")
    ca_file: Path | None = Field(
        default=None, description="PEM authorities of the query API's certificate; without it the system's."
    )
    cert_file: Path | None = Field(default=None, description="PEM certificate shown to the query API (mTLS).")
    key_file: Path | None = Field(default=None, description="PEM key of cert_file; without it it is in that file.")
    timeout_seconds: PositiveFloat = Field(
        default=30.0, description="To connect, and for every wait for the next bytes of an answer."
    )

    @model_validator(mode="after")
    def _a_key_has_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file")
        return self

    def at(self, url: str) -> Self:
        """The same with the option --url in place of the setting. Raises `SettingsInvalid`."""
        try:
            return self.model_copy(update={"url": _base_url(url)})
        except ValueError as error:
            raise SettingsInvalid(f"--url {url!r}: {error}") from error
