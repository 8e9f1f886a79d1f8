import dataclasses

import pytest

from jaxgs import codec
from jaxgs.codec.header import decode_header, encode_header

LATTICE = codec.Lattice(3277, 768, 1024, 9830, (655, 786, 787))
HEADER = codec.Header(
  height=512, width=768, channels=3, num_gaussians=5000, lattice=LATTICE
)
FULL = codec.Header(
  height=65536,
  width=4096,
  channels=64,
  num_gaussians=1 << 24,
  lattice=codec.Lattice(262140, 4096, 65535, 1 << 20, (1 << 20,) * 64),
  bit_depth=16,
  blend="sum",
  top_k=255,
  edge="sharp",
  cutoff=65535,
  epsilon=(1 << 32) - 1,
  color_transform="ycocg",
  has_alpha=True,
  gamma=65535,
  lanes=65535,
)


@pytest.mark.parametrize("header", [HEADER, FULL])
def test_round_trip(header):
  data = encode_header(header)
  assert decode_header(data) == header
  for cut in range(len(data)):
    with pytest.raises(codec.BitstreamError, match="section header"):
      decode_header(data[:cut])
  with pytest.raises(codec.BitstreamError, match="1 bytes too many"):
    decode_header(data + b"\0")


def test_header_is_small():
  assert len(encode_header(HEADER)) <= 28


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("height", 0),
    ("height", 65537),
    ("height", 5.0),
    ("height", True),
    ("width", 1 << 20),
    ("channels", 0),
    ("channels", 65),
    ("num_gaussians", 0),
    ("num_gaussians", (1 << 24) + 1),
    ("top_k", 256),
    ("cutoff", 0),
    ("epsilon", 1 << 32),
    ("gamma", 0),
    ("lanes", 65536),
    ("bit_depth", 32),
    ("blend", "over"),
    ("color_transform", "klt"),
    ("has_alpha", 2),
  ],
)
def test_bad_fields_are_named(field, value):
  header = dataclasses.replace(HEADER, **{field: value})
  with pytest.raises(codec.BitstreamError, match=f"header {field}"):
    encode_header(header)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("scale_step", 0),
    ("scale_step", 262141),
    ("position_precision", 4097),
    ("angle_precision", 0),
    ("weight_step", -1),
    ("feature_step", (1, 2)),
    ("feature_step", (1, 2, 0)),
  ],
)
def test_bad_steps_are_named(field, value):
  lattice = LATTICE._replace(**{field: value})
  with pytest.raises(codec.BitstreamError, match=f"header {field}"):
    encode_header(dataclasses.replace(HEADER, lattice=lattice))


def test_fields_that_do_not_fit_together():
  replace = dataclasses.replace
  with pytest.raises(codec.BitstreamError, match=r"height \* width"):
    encode_header(replace(HEADER, height=65536, width=4097))
  one = replace(HEADER, channels=1, lattice=LATTICE._replace(feature_step=(1,)))
  encode_header(one)
  with pytest.raises(codec.BitstreamError, match="has_alpha"):
    encode_header(replace(one, has_alpha=True))
  with pytest.raises(codec.BitstreamError, match="color_transform"):
    encode_header(replace(HEADER, color_transform="ycocg", has_alpha=True))


def test_bad_bytes():
  data = encode_header(HEADER)
  for flags in (3, 2, 128):
    # The last one wants powers, which are not there.
    with pytest.raises(codec.BitstreamError, match=r"flags|bit_depth|power"):
      decode_header(bytes([flags]) + data[1:])
