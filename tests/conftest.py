"""Fixtures for every test: real services, started once."""

from tests.services import chdb_path, clickhouse

__all__ = ["chdb_path", "clickhouse"]
