"""Fixtures that only tests with real services need."""

from tests.browser import browser

__all__ = ["browser"]
