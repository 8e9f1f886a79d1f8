import zlib

import numpy as np
import pytest

from jaxgs.codec import bitstream
from jaxgs.codec.bitstream import BitstreamError, ByteReader

PAYLOADS = {
  "header": b"h",
  "position": b"",
  "shape": b"shape" * 100,
  "weight": b"w",
  "feature": b"f",
}


def frame(tag, payload):
  body = tag + bitstream.encode_varint(len(payload)) + payload
  return body + zlib.crc32(body).to_bytes(4, "little")


def test_sections_round_trip():
  assert bitstream.read_sections(bitstream.write_sections(PAYLOADS)) == PAYLOADS
  without = {k: v for k, v in PAYLOADS.items() if k != "weight"}
  assert bitstream.read_sections(bitstream.write_sections(without)) == without


def test_container_is_frugal():
  payloads = dict.fromkeys(PAYLOADS, b"x" * 2000) | {"header": b"x" * 30}
  size = len(bitstream.write_sections(payloads))
  assert size - sum(map(len, payloads.values())) < 40


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda d: b"", "magic"),
    (lambda d: b"\x89J", "magic"),
    (lambda d: b"P" + d[1:], "magic"),
    (lambda d: d[:4], "version"),
    (lambda d: d[:4] + b"\x02" + d[5:], "version 2"),
    (lambda d: d[:5], "header is missing"),
    (lambda d: d[:-1], "checksum of feature"),
    (lambda d: d + b"\0", "1 trailing bytes"),
    (lambda d: d[:5] + b"X" + d[6:], "unknown section"),
    (lambda d: d[:7] + b"?" + d[8:], "checksum of section header"),
    (lambda d: d[:12] + d[5:12] + d[12:], "header appears twice"),
    (lambda d: d[:5] + d[12:], "header is missing"),
    (lambda d: d[:5] + frame(b"P", b"") + d[5:], "header comes after"),
    (lambda d: d[:5] + b"H\xff\xff\xff\xff\x7f", "needs"),
    (lambda d: d[:5] + b"H\x81\x00", "shortest form"),
    (lambda d: d[:5] + b"H" + b"\xff" * 12, "longer than"),
  ],
)
def test_damage_is_named(change, message):
  data = bitstream.write_sections(PAYLOADS)
  with pytest.raises(BitstreamError, match=message):
    bitstream.read_sections(change(data))


def test_varints():
  for value in (0, 1, 127, 128, 300, 2**32, 2**63 - 1):
    data = bitstream.encode_varint(value)
    assert ByteReader(data, "x").varint("v") == value
  for value in (0, 1, -1, 63, -64, 64, -(2**40), 2**40):
    data = bitstream.encode_signed_varint(value)
    assert ByteReader(data, "x").signed_varint("v", 2**40) == value
  with pytest.raises(ValueError, match="varint"):
    bitstream.encode_varint(-1)
  with pytest.raises(BitstreamError, match=r"v is 5, want 0\.\.4"):
    ByteReader(b"\x05", "x").varint("v", 0, 4)


def test_bits_round_trip():
  rng = np.random.default_rng(0)
  widths = rng.integers(0, 40, 1000)
  values = rng.integers(0, 2**62, 1000) & ((1 << widths) - 1)
  data = bitstream.pack_bits(values, widths)
  assert len(data) == (widths.sum() + 7) // 8
  reader = ByteReader(data, "x")
  np.testing.assert_array_equal(bitstream.unpack_bits(reader, widths), values)
  reader.finish()
  assert bitstream.pack_bits(np.array([5, 1]), np.array([3, 2])) == b"\x0d"


def test_bits_are_checked():
  with pytest.raises(BitstreamError, match="raw bits needs 2"):
    bitstream.unpack_bits(ByteReader(b"\0", "x"), np.array([9]))
  with pytest.raises(BitstreamError, match="unused bit"):
    bitstream.unpack_bits(ByteReader(b"\x08", "x"), np.array([3]))
