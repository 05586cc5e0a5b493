"""Fixtures for every test: real services, started once."""

from tests.services import clickhouse

__all__ = ["clickhouse"]
