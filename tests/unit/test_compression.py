"""Request bodies: every encoding, every way to be wrong, and bombs."""

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from bridge.errors import Malformed, TooLarge, UnsupportedMedia
from bridge.otlp.compression import decompress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = b"telemetry " * 1000


def raw_deflate(plain: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(plain) + packer.flush()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_packed_comes_out(encoding: str) -> None:
    """Every encoding round-trips, in any case of its name, also when empty and exactly at the limit."""
    packed = ENCODINGS[encoding](PLAIN)
    assert decompress(encoding.upper(), packed, len(PLAIN)) == PLAIN
    assert decompress(encoding, ENCODINGS[encoding](b""), 10) == b""


def test_raw_deflate_is_taken_too() -> None:
    """Clients that send deflate without the zlib frame are understood."""
    assert decompress("deflate", raw_deflate(PLAIN), 1 << 20) == PLAIN


def test_gzip_of_several_members_is_one_body() -> None:
    """RFC 1952 allows members one after the other."""
    assert decompress("gzip", gzip.compress(b"a") + gzip.compress(b"b"), 10) == b"ab"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_byte_over_the_limit_is_too_large(encoding: str) -> None:
    """The limit is exact."""
    with pytest.raises(TooLarge):
        decompress(encoding, ENCODINGS[encoding](PLAIN), len(PLAIN) - 1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_stopped_at_the_limit(encoding: str) -> None:
    """200 MiB of zeros in a small body cost no more memory than the limit allows."""
    packed = ENCODINGS[encoding](bytes(200 << 20))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decompress(encoding, packed, 1 << 20)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("body", [b"", b"not packed at all", b"\x1f\x8b", PLAIN])
def test_a_body_that_is_not_what_its_header_says_is_malformed(encoding: str, body: bytes) -> None:
    """A wrong Content-Encoding is the sender's mistake, told as such."""
    with pytest.raises(Malformed):
        decompress(encoding, body, 1 << 20)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_cut_body_is_malformed(encoding: str) -> None:
    """A truncated body is never taken for a shorter one."""
    packed = ENCODINGS[encoding](PLAIN)
    for cut in (1, 5, len(packed) // 2):
        with pytest.raises(Malformed):
            decompress(encoding, packed[:-cut], 1 << 20)


def test_a_zstd_frame_that_wants_a_huge_window_is_refused() -> None:
    """A window of 128 MiB is memory taken before a byte came out."""
    header = bytearray(zstd.compress(bytes(300 << 10), options={zstd.CompressionParameter.content_size_flag: 0}))
    header[5] = (27 - 10) << 3  # RFC 8878 3.1.1.1.2: the window descriptor
    with pytest.raises(Malformed):
        decompress("zstd", bytes(header), 1 << 20)


def test_an_unknown_encoding_is_named() -> None:
    """The answer lists what is spoken."""
    with pytest.raises(UnsupportedMedia, match="gzip, deflate, zstd"):
        decompress("br", b"", 10)
