"""The bridge: OTLP in, enriched, durable in a log, delivered once. Read app.py, then ingest.py, then deliver.py."""
