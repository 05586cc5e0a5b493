"""Settings: sources, strictness, and errors that say everything at once."""

from pathlib import Path

import pytest

from bridge.errors import SettingsInvalid
from bridge.settings import Settings, effective, is_loopback, load_settings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "headrace.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_source() -> None:
    """With nothing given the program has settings it can run with."""
    assert load_settings(None, {}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable overrides the file's value and leaves its neighbours alone."""
    path = write(tmp_path, "[deliver]\nmax_rows = 10\nmax_bytes = 20\n")
    deliver = load_settings(path, {"HEADRACE_DELIVER__MAX_ROWS": "11"}).deliver
    assert (deliver.max_rows, deliver.max_bytes) == (11, 20)


def test_lists_in_the_environment_are_json() -> None:
    """A list or table is given as JSON in a variable."""
    settings = load_settings(None, {"HEADRACE_ENRICH__REDACT": '[{"key": "pw", "action": "drop"}]'})
    assert [rule.key for rule in settings.enrich.redact] == ["pw"]


def test_every_mistake_is_told_at_once_with_its_key(tmp_path: Path) -> None:
    """Unknown keys, wrong types, bad values and misspelt variables all appear in one error."""
    path = write(tmp_path, '[deliver]\nmax_rowz = 1\nmax_bytes = "many"\n[clickhouse]\ninterface = "grpc"\n')
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(path, {"HEADRACE_DELIVR__MAX_ROWS": "1", "HEADRACE_ADMIN__LISTEN": "nowhere"})
    text = str(caught.value)
    assert "deliver.max_rowz: unknown key; allowed here: max_age_seconds, max_bytes" in text
    assert "deliver.max_bytes: " in text
    assert "clickhouse.interface: " in text
    assert "'chdb', 'http' or 'https'" in text
    assert "delivr: unknown key; allowed here: admin, catalog, clickhouse" in text
    assert "admin.listen: must be HOST:PORT" in text


def test_a_variable_below_a_plain_value_is_an_error() -> None:
    """A path through something that is no section names the variable."""
    with pytest.raises(SettingsInvalid, match="HEADRACE_DATA_DIR__X"):
        load_settings(None, {"HEADRACE_DATA_DIR": "d", "HEADRACE_DATA_DIR__X": "1"})


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    """The error names the file that cannot be read or parsed."""
    with pytest.raises(SettingsInvalid, match=r"headrace\.toml: not TOML"):
        load_settings(write(tmp_path, "= nonsense"), {})
    with pytest.raises(SettingsInvalid, match="No such file"):
        load_settings(tmp_path / "absent.toml", {})


@pytest.mark.parametrize("listener", ["GRPC_LISTEN", "HTTP_LISTEN"])
def test_another_address_than_loopback_needs_credentials(listener: str, tmp_path: Path) -> None:
    """Listening to other machines without a catalog is refused unless it is said to be insecure."""
    environ = {f"HEADRACE_RECEIVE__{listener}": "0.0.0.0:4317"}
    with pytest.raises(SettingsInvalid, match="no credentials"):
        load_settings(None, environ)
    load_settings(None, environ | {"HEADRACE_RECEIVE__INSECURE": "true"})
    catalog = write(tmp_path, "")
    load_settings(None, environ | {"HEADRACE_CATALOG__FILE": str(catalog)})


def test_a_budget_smaller_than_a_request_is_refused() -> None:
    """max_in_flight_bytes below max_request_bytes would refuse the largest request for ever."""
    with pytest.raises(SettingsInvalid, match="must be at least max_request_bytes"):
        load_settings(None, {"HEADRACE_RECEIVE__MAX_IN_FLIGHT_BYTES": "1000"})


def test_files_that_are_not_there_are_told_at_start() -> None:
    """A missing certificate is found when the settings are read, not at the first connection."""
    environ = {"HEADRACE_RECEIVE__TLS": '{"cert_file": "/nope/c.pem", "key_file": "/nope/k.pem"}'}
    with pytest.raises(SettingsInvalid, match=r"receive\.tls\.cert_file: /nope/c\.pem"):
        load_settings(None, environ)


def test_secrets_are_masked_when_shown() -> None:
    """What `config check` prints never holds a password, and an error about one does not either."""
    settings = load_settings(None, {"HEADRACE_CLICKHOUSE__PASSWORD": "hunter2"})
    assert "hunter2" not in effective(settings)
    assert 'clickhouse.password = "**********"' in effective(settings)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:1", True), ("localhost:1", True), ("[::1]:1", True), ("0.0.0.0:1", False), ("[::]:1", False)],
)
def test_loopback_is_recognised(address: str, expected: bool) -> None:
    """Only addresses that other machines cannot reach count as loopback."""
    assert is_loopback(address) is expected


@pytest.mark.parametrize("url", ["127.0.0.1:9097", "ftp://h", "http://", "http://u:p@h", "http://h/?a=1", "http://h:x"])
def test_the_query_apis_url_is_one_a_path_can_be_put_behind(url: str) -> None:
    """Another scheme, credentials or a query in client.url are refused; a slash at its end is taken off."""
    with pytest.raises(SettingsInvalid, match=r"client\.url: must be http"):
        load_settings(None, {"HEADRACE_CLIENT__URL": url})
    assert load_settings(None, {"HEADRACE_CLIENT__URL": "https://h:1/api/"}).client.url == "https://h:1/api"


def test_the_clients_token_and_key_are_checked_without_being_shown() -> None:
    """A token of a wrong type is not in the message, and a key without its certificate is told."""
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(None, {"HEADRACE_CLIENT__TOKEN": '["hunter2"]', "HEADRACE_CLIENT__URL": "x"})
    assert "client.token: " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsInvalid, match="key_file needs cert_file"):
        load_settings(None, {"HEADRACE_CLIENT__KEY_FILE": "/nope"})
