"""What a file says about its channels."""

import dataclasses
import zlib

import numpy as np
import pytest

from jaxgs import codec
from jaxgs.codec import bitstream, maps
from jaxgs.codec.bitstream import BitstreamError, encode_varint
from jaxgs.codec.maps import (
  Map,
  decode_maps,
  decode_profile,
  encode_maps,
  encode_profile,
  validate_maps,
)

ALBEDO = Map(name="albedo", channels=3, color_transform="ycocg")
GLOW = Map(
  name="glow",
  channels=4,
  sample="half",
  bit_depth=16,
  curve="pu",
  curve_scale=-100,
  curve_peak=300,
  alpha="premultiplied",
)
STACK = (ALBEDO, GLOW)


def replaced(index, **fields):
  out = list(STACK)
  out[index] = dataclasses.replace(out[index], **fields)
  return tuple(out)


def test_round_trip():
  assert decode_maps(encode_maps(STACK), 7) == STACK
  unnamed = (dataclasses.replace(GLOW, name=""),)
  assert decode_maps(encode_maps(unnamed), 4) == unnamed
  many = tuple(Map(name=f"m{i}", channels=1) for i in range(64))
  assert decode_maps(encode_maps(many), 64) == many


@pytest.mark.parametrize(
  "name", ("a", "Ä b-1.2", "x" * 255, "汉" * 85, "normal map (gl)", "a..b")
)
def test_good_names(name):
  validate_maps(replaced(0, name=name), 7)


@pytest.mark.parametrize(
  ("name", "reason"),
  (
    ("", "0 bytes"),
    ("x" * 256, "256 bytes"),
    ("汉" * 86, "258 bytes"),
    ("../up", "dot"),
    (".hidden", "dot"),
    ("a/b", "slash"),
    ("a\\b", "slash"),
    ("C:a", "colon"),
    ("a\0b", "control"),
    ("a\nb", "control"),
    ("a\u202eb", "control"),
    ("a ", "space"),
    ("a.", "dot"),
    ("\ud800", "not text"),
    ("GLOW", "that of maps"),
  ),
)
def test_bad_names(name, reason):
  # The second, so that a clash is found there.
  stack = (GLOW, dataclasses.replace(ALBEDO, name=name))
  with pytest.raises(BitstreamError, match=rf"maps\[1\]: .*{reason}"):
    validate_maps(stack, 7)


@pytest.mark.parametrize(
  ("fields", "reason"),
  (
    ({"bit_depth": 8}, "half of 8 bits"),
    ({"sample": "double"}, "double of 16 bits"),
    ({"sample": "integer"}, "no curve"),
    ({"curve": "pq"}, "curve is 'pq'"),
    ({"curve": "none"}, "without a curve"),
    ({"alpha": "keyed"}, "alpha is 'keyed'"),
    ({"color_transform": "klt"}, "color_transform is 'klt'"),
    ({"curve_peak": 8129}, "8129"),
    ({"curve_peak": 1.5}, "want ints"),
    ({"curve_peak": 64 * 20}, "do not fit"),
    ({"curve": "log", "curve_scale": 64 * 30, "curve_peak": 0}, "do not fit"),
    ({"is_normal": True}, "normal map has no curve"),
  ),
)
def test_bad_fields(fields, reason):
  with pytest.raises(BitstreamError, match=rf"maps\[1\]: .*{reason}"):
    validate_maps(replaced(1, **fields), 7)


def test_channels_that_do_not_fit():
  with pytest.raises(BitstreamError, match=r"\[3, 4\] channels, want 8 in all"):
    validate_maps(STACK, 8)
  for fields in (
    {"channels": 2, "color_transform": "ycocg"},
    {"channels": 2, "is_normal": True},
    {"channels": 3, "alpha": "straight", "is_normal": True},
    {"channels": 1, "alpha": "straight"},
  ):
    one = Map(name="a", **fields)
    with pytest.raises(BitstreamError, match=r"maps\[0\]: .*channel"):
      validate_maps((one,), one.channels)


def test_what_the_header_can_say_has_no_maps():
  plain = Map(channels=4, alpha="straight", color_transform="ycocg")
  assert maps.is_plain((plain,))
  with pytest.raises(BitstreamError, match="header says all"):
    decode_maps(encode_maps((plain,)), 4)
  for other in (
    dataclasses.replace(plain, name="a"),
    dataclasses.replace(plain, alpha="premultiplied"),
    Map(channels=3, is_normal=True),
  ):
    assert not maps.is_plain((other,))


def test_header_leaves_to_maps_what_is_theirs(make_splats):
  header, symbols = make_splats(3, channels=7)
  stack = dataclasses.replace(header, maps=STACK)
  assert codec.decode(codec.encode(stack, symbols))[0] == stack
  assert (stack.is_stack, stack.transform) == (True, (0,))
  assert (header.is_stack, header.transform) == (False, ())
  for fields in (
    {"bit_depth": 16},
    {"has_alpha": True},
    {"color_transform": "ycocg"},
    {"channels": 6},
  ):
    with pytest.raises(BitstreamError):
      codec.validate_header(dataclasses.replace(stack, **fields))


def test_bad_bytes():
  good = encode_maps(STACK)
  with pytest.raises(BitstreamError, match="1 bytes too many"):
    decode_maps(good + b"\0", 7)
  for cut in range(len(good)):
    with pytest.raises(BitstreamError, match="section maps"):
      decode_maps(good[:cut], 7)
  for at, value, reason in (
    (0, 0, "number of maps"),
    (0, 8, "number of maps"),
    (1, 0x40, "flags"),
    (1, 0x0C, "flags"),
    (1, 0x30, "flags"),
    (2, 4, "flags"),
    (3, 8, "channels"),
    (5, 0xFF, "UTF-8"),
  ):
    bad = bytearray(good)
    bad[at] = value
    with pytest.raises(BitstreamError, match=reason):
      decode_maps(bytes(bad), 7)


def test_profile():
  rng = np.random.default_rng(0)
  for icc in (b"x", b"colours" * 999, rng.bytes(60_000), bytes(1 << 20)):
    assert decode_profile(encode_profile(icc)) == icc
  for icc in (b"", bytes((1 << 20) + 1), rng.bytes(70_000)):
    with pytest.raises(BitstreamError, match="profile"):
      encode_profile(icc)


def test_bad_profiles():
  icc = b"colours" * 99
  good = encode_profile(icc)
  packed = zlib.compress(icc)
  for bad in (
    b"",
    encode_varint(0) + packed,
    encode_varint(len(icc) - 1) + packed,
    encode_varint(len(icc) + 1) + packed,
    encode_varint((1 << 20) + 1) + packed,
    # A bomb: far more than it says, and more than may be.
    encode_varint(5) + zlib.compress(bytes(1 << 26)),
    good + b"\0",
    *(good[:cut] for cut in range(len(good))),
  ):
    with pytest.raises(BitstreamError, match="section profile"):
      decode_profile(bad)


def test_sections_are_counted(make_splats):
  header, symbols = make_splats(9, channels=7)
  header = dataclasses.replace(header, maps=STACK, icc=b"colours")
  data = codec.encode(header, symbols)
  sizes = codec.section_sizes(data)
  assert sum(sizes.values()) == len(data)
  assert sizes["maps"] == len(encode_maps(STACK))
  assert sizes["profile"] == len(encode_profile(b"colours"))


def test_a_decoder_without_these_sections_refuses(make_splats, monkeypatch):
  header, symbols = make_splats(9, channels=7)
  data = codec.encode(dataclasses.replace(header, maps=STACK), symbols)
  old = {
    k: v for k, v in bitstream.SECTIONS.items() if not v[1] or k == "weight"
  }
  monkeypatch.setattr(bitstream, "SECTIONS", old)
  with pytest.raises(BitstreamError, match="unknown section tag b'M'"):
    codec.decode(data)
