"""Binding a listener so that a failure names the setting at fault."""

from aiohttp import web


async def start_site(site: web.BaseSite, setting: str, address: str) -> None:
    """Return when the port is bound. Raises `OSError` whose text names `setting`."""
    try:
        await site.start()
    except OSError as error:
        raise OSError(f"{setting}: {address} cannot be bound: {error.strerror}") from error
