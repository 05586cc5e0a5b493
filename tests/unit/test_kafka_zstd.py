"""The level that records are compressed at is ours, although aiokafka has no setting for it."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from backports import zstd

from bridge.log.kafka_zstd import LEVEL, use_level

HEADER_BYTES = 61  # of a record batch of version 2 (Kafka protocol guide)


def test_batches_are_compressed_at_our_level() -> None:
    """The bytes of a batch are those that zstd makes at `LEVEL`, and not those of aiokafka's level 3."""
    use_level()
    builder = DefaultRecordBatchBuilder(
        2, 4, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=1 << 20
    )
    value = b"".join(b"key-%d value %d;" % (number % 17, number * number) for number in range(5_000))
    builder.append(0, timestamp=1, key=b"k", value=value, headers=[])
    packed = bytes(builder.build())[HEADER_BYTES:]
    records = zstd.decompress(packed)
    assert value in records
    assert packed == zstd.compress(records, LEVEL)
    assert packed != zstd.compress(records, 3)
