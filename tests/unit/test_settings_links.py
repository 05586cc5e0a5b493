"""Settings of links: mistakes are told with what to do, and no mistake prints a key."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.errors import SettingsInvalid
from bridge.settings import effective, load_settings
from bridge.settings_links import HyperDX

KEY = "kind-hdx-signing-secret"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"base_url": "", "signing_key": KEY}, "signing_key needs base_url"),
        ({"signing_key": "short"}, "16 bytes or more"),
        ({"signing_key": KEY, "previous_signing_keys": ["short"]}, "16 bytes or more"),
        ({"signing_key": "short", "previous_signing_keys": [""], "mode": "legacy"}, "must not hold an empty key"),
        ({"previous_signing_keys": [KEY]}, "previous_signing_keys needs signing_key"),
        ({"ttl_seconds": 0}, "greater than 0"),
        ({"ttl_seconds": -5}, "greater than 0"),
        ({"mode": "both"}, "'signed' or 'legacy'"),
        ({"allowed_paths": []}, "at least 1"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], message: str) -> None:
    """What cannot be used is refused at the start, with the setting's name."""
    with pytest.raises(ValidationError, match=message):
        HyperDX.model_validate({"base_url": "http://hyperdx:3000", **given})


@pytest.mark.parametrize(
    "url",
    [
        "hyperdx:3000",
        "ftp://hyperdx",
        "http://",
        "http://:3000",
        "http://hyperdx:",
        "http://hyperdx:port",
        "http://user:pw@hyperdx",
        "http://hyperdx?x=1",
        "http://hyperdx/#x",
        "http://hyper dx",
        "http://hyperdx/a/../b",
        "http://hyperdx//a",
        "http://hyperdx\\a",
        "http://hyperdx\n",
        "http://hypérdx",
        " http://hyperdx",
    ],
)
def test_a_base_url_is_where_browsers_go(url: str) -> None:
    """Only http(s) with a host and a plain path: a link is put together from it as it stands."""
    with pytest.raises(ValidationError, match="must be http"):
        HyperDX(base_url=url)


@pytest.mark.parametrize("path", ["search", "/a*", "/a/*/b", "/*/*", "*", "", "/a?b", "/a/../b", "/a//*", "/%61"])
def test_allowed_paths_are_paths_or_what_is_below_one(path: str) -> None:
    """A star is for everything below a path and nothing else."""
    with pytest.raises(ValidationError, match="as /search, or everything below one"):
        HyperDX(allowed_paths=(path,))


def test_short_keys_are_taken_in_legacy_mode() -> None:
    """The old Observer had no least length, and its keys go on working."""
    assert HyperDX(base_url="https://h", signing_key="k", mode="legacy").is_configured  # type: ignore[arg-type]


def test_no_mistake_prints_a_key(tmp_path: Path) -> None:
    """Neither errors of a key, nor of the section that holds it, nor the effective settings show one."""
    path = tmp_path / "headrace.toml"
    for text in (
        f'[hyperdx]\nsigning_key = "{KEY}"\n',
        f'[hyperdx]\nbase_url = "http://h"\nsigning_key = ["{KEY}"]\n',
        f'[hyperdx]\nbase_url = "http://h"\nprevious_signing_keys = ["{KEY}"]\n',
        f'[hyperdx]\nbase_url = "http://h"\nprevious_signing_keys = "{KEY}"\n',
        f'[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_plain_password = "{KEY}"\n',
    ):
        path.write_text(text)
        with pytest.raises(SettingsInvalid) as caught:
            load_settings(path, {})
        assert KEY not in str(caught.value)
    path.write_text(f'[hyperdx]\nbase_url = "http://h"\nsigning_key = "{KEY}"\nprevious_signing_keys = ["{KEY}"]\n')
    assert KEY not in effective(load_settings(path, {}))
