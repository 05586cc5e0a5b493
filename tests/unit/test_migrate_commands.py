"""`headrace migrate ...` says what is wrong before it asks anybody."""

import pytest

from bridge.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("plan",),
        ("backfill", "--yes"),
        ("validate", "--from", "2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z"),
        ("routes",),
        ("cutover", "--org", "acme"),
        ("rollback", "--org", "acme"),
        ("shadow", "start"),
        ("archive",),
        ("backup", "check"),
        ("teardown",),
    ],
)
def test_a_store_inside_another_process_is_refused_by_its_setting(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The default store is embedded in `headrace run`: every phase names the setting and what it may be."""
    assert main(["migrate", *arguments]) == 1
    told = capsys.readouterr().err
    assert "clickhouse.interface" in told
    assert "Traceback" not in told
