"""From OpenSearch to ClickHouse with proof, and back: what `headrace migrate` does (docs/migration.md)."""
