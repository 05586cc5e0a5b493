"""From the settings tree to ClickHouse's; apart, because its client is loaded."""

from bridge.settings import Settings
from sinks.clickhouse import ClickHouseSettings
from sinks.ddl import SchemaOptions


def clickhouse_settings(settings: Settings) -> ClickHouseSettings:
    store = settings.clickhouse
    return ClickHouseSettings(
        interface=store.interface,
        host=store.host,
        port=store.port,
        username=store.username,
        password=store.password.get_secret_value(),
        database=store.database,
        data_path=settings.data_dir / "clickhouse",
        compression=store.compression,
        connect_timeout_seconds=store.connect_timeout_seconds,
        send_receive_timeout_seconds=store.send_receive_timeout_seconds,
        verify=store.verify,
        ca_cert=store.ca_cert,
        client_cert=store.client_cert,
        client_cert_key=store.client_cert_key,
        # one for the schema and questions beside the inserts
        threads=settings.deliver.max_inserts_in_flight + 1,
    )


def schema_options(settings: Settings) -> SchemaOptions:
    store = settings.clickhouse
    return SchemaOptions(store.database, store.logs_ttl_days, store.traces_ttl_days, store.cluster)
