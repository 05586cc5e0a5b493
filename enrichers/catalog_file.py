"""The catalog's file, read again when it changes; the last good one stays when it is broken or gone."""

import asyncio
import logging
import time
from pathlib import Path

from bridge.errors import SettingsInvalid
from enrichers.catalog import Catalog, parse_catalog

logger = logging.getLogger(__name__)
Stamp = tuple[int, int, int]


class CatalogFile:
    """`current` is the catalog in force; `reloads`, `failures` and `last_error` say how it got there."""

    def __init__(self, path: Path, catalog: Catalog, stamp: Stamp | None) -> None:
        self.path, self.current, self._stamp = path, catalog, stamp
        self.reloads = self.failures = 0
        self.last_error: str | None = None
        self.loaded_at = time.time()

    async def watch(self, stop: asyncio.Event, every_seconds: float) -> None:
        """Look at the file until `stop`."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(every_seconds):
                    await stop.wait()
            except TimeoutError:
                await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Read the file if it is not the one last looked at. Never raises."""
        try:
            stamp = _stamp_of(self.path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self.current = parse_catalog(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            self._stamp = None  # whatever comes back is read
            self._fails(str(error))
        except (UnicodeDecodeError, SettingsInvalid) as error:
            self._fails(str(error))
        else:
            self.reloads, self.last_error, self.loaded_at = self.reloads + 1, None, time.time()
            logger.info("catalog read", extra={"fields": {"file": str(self.path), "planes": len(self.current.planes)}})

    def _fails(self, error: str) -> None:
        """One log line for each new trouble, not for each look."""
        if error != self.last_error:
            self.failures, self.last_error = self.failures + 1, error
            logger.error("catalog not taken, the last good one stays: %s", error)


def open_catalog(path: Path) -> CatalogFile:
    """The file's catalog at start. Raises `SettingsInvalid` if it cannot be used."""
    try:
        stamp = _stamp_of(path)
        return CatalogFile(path, parse_catalog(path.read_text(encoding="utf-8")), stamp)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"catalog.file: {path}: {error}") from error
    except SettingsInvalid as error:
        raise SettingsInvalid(f"catalog.file: {path}:\n{error}") from error


def _stamp_of(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
