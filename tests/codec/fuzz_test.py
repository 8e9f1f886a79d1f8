"""No bytes may make the decoder do anything but return or BitstreamError."""

import dataclasses
import zlib

import numpy as np
import pytest

from jaxgs import codec
from jaxgs.codec import bitstream
from jaxgs.codec.header import encode_header


def attempt(data):
  """Decodes; returns whether the bytes were accepted."""
  try:
    codec.decode(data)
  except codec.BitstreamError as e:
    assert str(e)
    return False
  return True


def small_files(make_splats):
  options = [
    {"num_gaussians": 1},
    {"num_gaussians": 12, "channels": 4, "lanes": 3},
    {"num_gaussians": 60, "weighted": False, "height": 40, "width": 30},
    {"num_gaussians": 300, "channels": 1},
    {"num_gaussians": 80, "adaptive": True},
  ]
  files = [codec.encode(*make_splats(**o)) for o in options]
  header, symbols = make_splats(40, channels=5)
  leaf = codec.Map(name="leaf", channels=4, alpha="premultiplied")
  glow = codec.Map(
    name="glow",
    channels=1,
    sample="half",
    bit_depth=16,
    curve="log",
    curve_scale=-200,
    curve_peak=90,
  )
  header = dataclasses.replace(header, maps=(leaf, glow), icc=b"colours" * 9)
  return [*files, codec.encode(header, symbols)]


def mutate(rng, data):
  """Returns bytes with one to three flips, overwrites, cuts or insertions."""
  out = bytearray(data)
  for _ in range(rng.integers(1, 4)):
    i = int(rng.integers(0, len(out))) if out else 0
    choice = rng.integers(0, 5)
    if choice == 0 and out:
      out[i] ^= 1 << int(rng.integers(0, 8))
    elif choice == 1 and out:
      out[i] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(0, 256)]))
    elif choice == 2:
      del out[i : i + int(rng.integers(1, 5))]
    elif choice == 3:
      out[i:i] = rng.bytes(int(rng.integers(1, 5)))
    else:
      j = int(rng.integers(0, len(out))) if out else 0
      out[i : i + 4] = out[j : j + 4]
  return bytes(out)


def test_damaged_files_are_refused(make_splats):
  rng = np.random.default_rng(0)
  for data in small_files(make_splats):
    assert attempt(data)
    for _ in range(500):
      damaged = mutate(rng, data)
      assert damaged == data or not attempt(damaged)


def test_truncated_and_extended_files_are_refused(make_splats):
  for data in small_files(make_splats)[:3]:
    for cut in range(len(data)):
      assert not attempt(data[:cut])
    for tail in (b"\0", b"F", b"garbage", data):
      assert not attempt(data + tail)


@pytest.mark.parametrize("section", list(bitstream.SECTIONS))
def test_payloads_with_right_checksums(make_splats, section):
  rng = np.random.default_rng(zlib.crc32(section.encode()))
  refused = tried = 0
  for data in small_files(make_splats):
    payloads = bitstream.read_sections(data)
    if section not in payloads:
      continue
    for _ in range(250):
      changed = mutate(rng, payloads[section])
      fixed = bitstream.write_sections(payloads | {section: changed})
      refused += not attempt(fixed)
      tried += 1
  assert refused > tried / 4


def test_random_payloads(make_splats):
  rng = np.random.default_rng(1)
  payloads = bitstream.read_sections(small_files(make_splats)[2])
  for _ in range(300):
    random = {
      name: bytes(rng.integers(0, rng.integers(1, 256), 60).tolist())
      for name in payloads
      if rng.random() < 0.5 and name != "header"
    }
    attempt(bitstream.write_sections(payloads | random))


def test_claims_are_bounded_by_the_file(make_splats):
  header, symbols = make_splats(20)
  payloads = bitstream.read_sections(codec.encode(header, symbols))
  for n in (25_000, 1 << 24):
    claim = encode_header(dataclasses.replace(header, num_gaussians=n))
    data = bitstream.write_sections(payloads | {"header": claim})
    with pytest.raises(codec.BitstreamError, match="too many"):
      codec.decode(data)
