"""A real Chromium for tests and screenshots, without root: the headless build of an npm package, unpacked once.

The package is made for machines that have nothing installed: it brings the libraries and a font, compressed with
brotli, which Node.js (there with npm) decompresses. HEADRACE_TEST_CHROMIUM takes another Chromium that is there.
"""

import fcntl
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, async_playwright

from tests.services import ROOT, Unavailable, skipped_if_unavailable

PACKAGE: Final = "@sparticuz/chromium"
VERSION: Final = "153.0.0"
SHA256: Final = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"
HOME: Final = (ROOT / ".services").resolve() / "chromium"
DECOMPRESS: Final = (
    "const [from, to] = process.argv.slice(1), fs = require('fs'), zlib = require('zlib');"
    "require('stream').pipeline(fs.createReadStream(from), zlib.createBrotliDecompress(), fs.createWriteStream(to),"
    " (error) => { if (error) throw error; });"
)
# Root has no sandbox, small machines no /dev/shm to speak of, and a test no GPU and no business outside.
FLAGS: Final = (
    "--no-sandbox",
    "--no-zygote",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--font-render-hinting=none",
)
FONTS: Final = """<?xml version="1.0"?>
<fontconfig><dir>{home}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{home}/font-cache</cachedir></fontconfig>
"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of its own for each test; where none can be had a loud skip, and with CI=true a failure."""
    with skipped_if_unavailable():
        async with open_browser() as opened:
            yield opened


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A headless browser, closed with the block. Raises `Unavailable` if none can be had on this machine."""
    given = os.environ.get("HEADRACE_TEST_CHROMIUM")
    environ: dict[str, str | float | bool] = dict(os.environ)
    if given is None:
        home = _unpacked()
        libraries = [str(home / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        environ |= {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(home / "fonts.conf")}
    path = given or str(HOME / VERSION / "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS), env=environ)
        try:
            yield browser
        finally:
            await browser.close()


def _unpacked() -> Path:
    """The folder with `chromium`, `lib` and `fonts`, fetched and unpacked by the first who asks."""
    home = HOME / VERSION
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            with tempfile.TemporaryDirectory(dir=HOME) as scratch:
                _unpack(_package(Path(scratch)), Path(scratch) / "made").rename(home)
    return home


def _package(scratch: Path) -> Path:
    """The package's files. What runs here is what was looked at: its digest is pinned as well as its version."""
    npm, machine = shutil.which("npm"), platform.machine()
    if machine != "x86_64" or sys.platform != "linux":
        raise Unavailable(f"{PACKAGE} is for x86_64 Linux, not {machine}; set HEADRACE_TEST_CHROMIUM to a Chromium")
    if npm is None or shutil.which("node") is None:
        raise Unavailable(f"npm is needed once to fetch {PACKAGE}; install Node.js, or set HEADRACE_TEST_CHROMIUM")
    sys.stderr.write(f"fetching {PACKAGE}@{VERSION} (70 MB, 215 MB unpacked, once) ...\n")
    command = [npm, "pack", "--silent", "--pack-destination", str(scratch), f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False, timeout=600)
    found = list(scratch.glob("*.tgz"))
    if done.returncode or not found:
        raise Unavailable(f"npm could not fetch {PACKAGE}: {done.stderr[-1000:]}")
    content = found[0].read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise RuntimeError(f"{PACKAGE}@{VERSION} is not the package that SHA256 in {__file__} names; do not run it")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "package" / "bin"


def _unpack(packed: Path, home: Path) -> Path:
    home.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar", "swiftshader.tar"):
        target = home / name
        node = ["node", "-e", DECOMPRESS, str(packed / f"{name}.br"), str(target)]
        subprocess.run(node, check=True, timeout=120)
        if target.suffix == ".tar":
            with tarfile.open(target) as archive:
                archive.extractall(home, filter="data")
            target.unlink()
    (home / "chromium").chmod(0o755)
    (home / "fonts.conf").write_text(FONTS.format(home=HOME / VERSION))
    return home
