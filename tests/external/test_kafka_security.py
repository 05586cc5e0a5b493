"""Brokers that ask who is there: SASL PLAIN and SCRAM, TLS with client certificates, and what a wrong answer says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from bridge.errors import LogUnavailable, SettingsInvalid
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.log.kafka_settings import KafkaSettings
from bridge.model import Signal
from tests.contracts.log_ends import Listener, record, take, values
from tests.contracts.test_kafka_log import opened, settings_for
from tests.kafka_service import KafkaBroker, start_kafka
from tests.listeners import Authority, authority
from tests.program import free_port
from tests.services import skipped_if_unavailable

pytestmark = [pytest.mark.external, pytest.mark.timeout(120)]

EXTRA = """
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_headrace="secret";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
ssl.client.auth=required
"""  # noqa: E501 - a property is a line


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def guarded(ca: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    folder = tmp_path_factory.mktemp("broker")
    certificate, key = ca.issue("server", x509.DNSName("localhost"))
    (folder / "server.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    (folder / "ca.pem").write_bytes(ca.file.read_bytes())
    users = tuple(f"{mechanism}=[name=headrace,password=secret]" for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"))
    ports = {"SASL": free_port(), "TLS": free_port()}
    with skipped_if_unavailable(), start_kafka(EXTRA.format(directory=folder), ports, users) as broker:
        yield broker


def sasl(broker: KafkaBroker, name: str, mechanism: str, password: str) -> KafkaSettings:
    return replace(
        settings_for(broker, name),
        bootstrap_servers=(f"127.0.0.1:{broker.listeners['SASL']}",),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,  # type: ignore[arg-type]  # one of three texts
        sasl_plain_username="headrace",
        sasl_plain_password=password,
    )


async def goes_through(settings: KafkaSettings) -> None:
    """Topics, append, read and commit with these settings."""
    async with opened(settings) as log:
        listener = Listener()
        await log.reader.subscribe(listener)
        await log.appender.append([record(b"seen", Signal.LOGS)])
        assert values(await take(log.reader, listener, 1)) == [b"seen"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_sasl_lets_the_right_user_through(guarded: KafkaBroker, mechanism: str) -> None:
    """Producer, consumer and admin client all log in."""
    await goes_through(sasl(guarded, mechanism, mechanism, "secret"))


async def test_a_wrong_password_is_said(guarded: KafkaBroker) -> None:
    """The process waits with a message; it does not go on without."""
    with pytest.raises(LogUnavailable, match=r"kafka\.bootstrap_servers"):
        async with open_admin_client(sasl(guarded, "wrong", "PLAIN", "nonsense")):
            pass


def tls(broker: KafkaBroker, ca: Authority, name: str) -> KafkaSettings:
    certificate, key = ca.issue("client", x509.DNSName("client"))
    return replace(
        settings_for(broker, name),
        bootstrap_servers=(f"127.0.0.1:{broker.listeners['TLS']}",),
        security_protocol="SSL",
        ssl_cafile=ca.file,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_check_hostname=False,
    )


async def test_tls_with_a_client_certificate_lets_through(guarded: KafkaBroker, ca: Authority) -> None:
    """Every connection is encrypted and shows the certificate."""
    await goes_through(tls(guarded, ca, "tls"))


async def test_tls_without_a_certificate_is_refused(guarded: KafkaBroker, ca: Authority) -> None:
    """By the broker, which asks for one."""
    settings = replace(tls(guarded, ca, "none"), ssl_certfile=None, ssl_keyfile=None)
    with pytest.raises(LogUnavailable, match=r"kafka\.bootstrap_servers"):
        async with open_admin_client(settings):
            pass


async def test_missing_topics_are_named_where_they_may_not_be_created(kafka: KafkaBroker) -> None:
    """All of them, and the setting that would allow it."""
    settings = replace(settings_for(kafka, "missing"), create_topics=False)
    async with open_admin_client(settings) as admin:
        with pytest.raises(SettingsInvalid, match=r"otlp_spans.*otlp_logs.*otlp_dlq.*kafka.create_topics"):
            await check_topics(admin, settings)


async def test_topics_too_small_for_our_records_are_an_error_at_start(kafka: KafkaBroker) -> None:
    """With the topic's limit, ours, and both ways out."""
    settings = settings_for(kafka, "small")
    async with open_admin_client(settings) as admin:
        await check_topics(admin, settings)
        with pytest.raises(SettingsInvalid, match=r"max.message.bytes.*log.max_record_bytes"):
            await check_topics(admin, replace(settings, max_record_bytes=20_000_000))


def test_a_key_file_that_is_none_is_a_setting_at_fault(tmp_path: Path, kafka: KafkaBroker) -> None:
    """The error names the settings, not a line in ssl.py."""
    from bridge.log.kafka_client import connection_options

    broken = tmp_path / "broken.pem"
    broken.write_text("nonsense")
    with pytest.raises(SettingsInvalid, match="ssl_cafile"):
        connection_options(replace(settings_for(kafka, "ssl"), security_protocol="SSL", ssl_cafile=broken))
