"""Settings of `headrace migrate`."""

from pathlib import Path

from pydantic import Field, PositiveInt

from bridge.settings_receive import Section


class Migration(Section):
    """From OpenSearch to ClickHouse and back (docs/migration.md)."""

    signing_key_file: Path | None = Field(
        default=None,
        description="File with a key that validation reports are signed with. Not set: they carry a checksum only.",
    )
    snapshot_repository: str = Field(
        default="headrace", min_length=1, description="Snapshot repository of OpenSearch that `archive` writes to."
    )
    data_plane: str | None = Field(
        default=None,
        description="Data plane of the catalog that documents of others count as when they are brought over;"
        " not set: kafka.foreign_data_plane, and without a catalog the local one.",
    )
    slice_documents: PositiveInt = Field(
        default=20_000, description="Documents that backfill moves at a time; it holds this many in memory."
    )
