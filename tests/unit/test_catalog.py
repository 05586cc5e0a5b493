"""The catalog: what it says, every mistake at once, and its file while it changes."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from bridge.errors import SettingsInvalid
from enrichers.catalog import parse_catalog
from enrichers.catalog_file import open_catalog
from tests.waiting import eventually

DIGEST = hashlib.sha256(b"secret").hexdigest()
GOOD = f"""
[[organizations]]
name = "acme"
[[data_planes]]
id = "eu"
token_sha256s = ["{DIGEST.upper()}"]
spiffe_ids = ["spiffe://a/b"]
organizations = ["acme"]
"""


def test_tokens_and_spiffe_ids_find_their_plane() -> None:
    """By the whole token only; near misses and unknown ones find nobody."""
    catalog = parse_catalog(GOOD)
    plane = catalog.plane_of_token("secret")
    assert plane is not None
    assert plane.id == "eu"
    assert plane.may_write("acme")
    assert not plane.may_write("globex")
    for wrong in ("Secret", "secret ", "", DIGEST, "\ud800"):
        assert catalog.plane_of_token(wrong) is None
    assert catalog.plane_of_spiffe_id("spiffe://a/b") == plane
    assert catalog.plane_of_spiffe_id("spiffe://a/b/c") is None


def test_the_example_is_a_catalog() -> None:
    """What deploy/ shows can be used."""
    text = (Path(__file__).parents[2] / "deploy" / "catalog.example.toml").read_text()
    assert [plane.id for plane in parse_catalog(text).planes] == ["eu-1"]


def test_every_mistake_is_told_at_once_with_its_key() -> None:
    """Unknown keys, wrong shapes, bad hashes, duplicates and references to nothing."""
    with pytest.raises(SettingsInvalid) as caught:
        parse_catalog(f"""
        colour = "red"
        projects = [{{ organization = "nobody", name = "p" }}]
        components = "x"
        [[organizations]]
        name = "acme"
        [[organizations]]
        name = "other"
        uid = "acme"
        [[organizations]]
        name = "third"
        [[data_planes]]
        id = "a"
        token_sha256s = ["not-a-hash", "{DIGEST}"]
        spiffe_ids = ["http://x"]
        organizations = ["acme", "globex"]
        default_organization = "third"
        tokens = ["plain"]
        [[data_planes]]
        id = "a"
        token_sha256s = ["{DIGEST}"]
        organizations = []
        """)
    text = str(caught.value)
    for expected in (
        "colour: unknown key",
        "projects[0].organization: there is no organization 'nobody'",
        "components: write it as [[components]]",
        "organizations[1]: 'acme' is the name or uid of another organization already",
        "data_planes[0].token_sha256s: must be SHA-256 in hex",
        "data_planes[0].spiffe_ids: 'http://x' does not start with spiffe://",
        "there is no organization 'globex'",
        "data_planes[0].default_organization: 'third' is not among its organizations",
        "data_planes[0].tokens: unknown key",
        "data_planes[1].id: is given to data plane 'a' already",
        "data_planes[1].token_sha256s: is given to data plane 'a' already",
    ):
        assert expected in text


def test_a_broken_catalog_at_start_is_told(tmp_path: Path) -> None:
    """The error names the setting and the file."""
    with pytest.raises(SettingsInvalid, match=r"catalog\.file"):
        open_catalog(tmp_path / "absent.toml")
    path = tmp_path / "catalog.toml"
    path.write_text("organizations = 1")
    with pytest.raises(SettingsInvalid, match=r"catalog\.file"):
        open_catalog(path)


async def test_a_changed_file_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    """Revoking a token takes effect; a typo leaves the last good catalog in force and is counted once."""
    path = tmp_path / "catalog.toml"
    path.write_text(GOOD)
    catalog, stop = open_catalog(path), asyncio.Event()
    watch = asyncio.create_task(catalog.watch(stop, 0.01))
    path.write_text("oops = ")
    await eventually(lambda: catalog.failures == 1)
    assert catalog.current.plane_of_token("secret") is not None
    path.unlink()
    await eventually(lambda: catalog.failures == 2)
    assert catalog.current.plane_of_token("secret") is not None
    replacement = tmp_path / "new.toml"
    replacement.write_text(GOOD.replace(DIGEST.upper(), hashlib.sha256(b"other").hexdigest()))
    replacement.replace(path)
    await eventually(lambda: catalog.reloads == 1)
    assert catalog.current.plane_of_token("secret") is None
    assert catalog.current.plane_of_token("other") is not None
    assert catalog.last_error is None
    stop.set()
    await watch
