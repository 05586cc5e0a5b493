"""The OTLP listeners: bytes and credentials in, ingest called, outcome or error rendered. No decisions on data."""
