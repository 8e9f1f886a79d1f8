"""FORMAT.md says all: a reader made from the text alone reads what we read."""

import dataclasses
import pathlib
import re
import types
import zlib

import numpy as np
import pytest

import jaxgs
from jaxgs import codec
from jaxgs.codec import maps
from jaxgs.codec.bitstream import read_sections, write_sections
from jaxgs.decompress import draw_maps
from jaxgs.transfer import levels_to_float
from tests.codec import tiny_columns, tiny_maps, tiny_reader
from tests.codec.conftest import make_splats

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden" / "v1").glob("*.jgs"))
TEXT = (ROOT / "jaxgs" / "codec" / "FORMAT.md").read_text()
EXAMPLE = TEXT.partition("## 10.")[2]


def check_symbols(data):
  _, symbols = codec.decode(data)
  head, splats = tiny_reader.decode(data)
  scale = [tiny_reader.values(splats, name) for name in ("major", "ratio")]
  np.testing.assert_array_equal(np.stack(scale, 1), symbols.scale)
  for name in ("position", "angle", "weight", "feature"):
    got = tiny_reader.values(splats, name)
    np.testing.assert_array_equal(got, getattr(symbols, name), err_msg=name)
  return head, splats


def test_reader_is_independent():
  for module in (tiny_reader, tiny_columns, tiny_maps):
    source = pathlib.Path(module.__file__).read_text()
    assert not re.search(r"^\s*(import|from) (jaxgs|kernels)", source, re.M)


def check_maps(found, wanted):
  for one, want in zip(found, wanted, strict=True):
    assert (one.name, one.channels) == (want.name, want.channels)
    assert maps.SAMPLES[one.samples] == (want.sample, want.bit_depth)
    assert maps.CURVES[one.curve] == want.curve
    assert (one.scale, one.peak) == (want.curve_scale, want.curve_peak)
    assert maps.ALPHAS[one.alpha] == want.alpha
    assert one.ycocg == (want.color_transform == "ycocg")
    assert one.normals == want.is_normal


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files(path):
  data = path.read_bytes()
  head, splats = check_symbols(data)
  gaussians, header = jaxgs.decode_gaussians(data)
  for name in ("top_k", "cutoff", "epsilon", "lanes", "gamma"):
    assert getattr(head, name) == getattr(header, name)
  assert head.icc == header.icc
  check_maps(head.maps, header.pictures)
  names = ("centre", "log_scale", "theta", "log_weight", "f")
  for name, want in zip(names, gaussians, strict=True):
    got = tiny_reader.values(splats, name)
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
  ("name", "scale"),
  (
    ("one", 1.0),
    ("one", 7.0),
    ("axis_rgba", 1.0),
    ("axis_rgba", 0.4),
    ("sum_gray", 1.0),
    ("norm_rgb", 0.6),
    ("adaptive_rgb", 0.5),
    ("stack", 1.0),
    ("linear_rgb", 0.5),
    ("premultiplied_rgba", 1.0),
  ),
)
def test_pictures(name, scale):
  data = (GOLDEN[0].parent / f"{name}.jgs").read_bytes()
  head, splats = tiny_reader.decode(data)
  found = tiny_reader.draw(head, splats, scale)
  pictures = draw_maps(*codec.decode(data), scale=scale)
  assert list(found) == list(pictures)
  spread = [np.ptp(levels_to_float(picture)) for picture in pictures.values()]
  assert name == "one" or (min(spread) > 0.01 and max(spread) > 0.2)
  for one in head.maps:
    got, want = found[one.name], pictures[one.name]
    assert got.shape == want.shape
    if one.samples > 1:
      # An error of float32 goes through an exponential.
      rtol = 2e-3 if one.samples == 2 else 1e-4
      np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-5)
      continue
    difference = np.abs(got - want.astype(int))
    if one.alpha == 2:
      # By as much as the division by alpha makes of it.
      difference[..., :-1] *= got[..., -1:]
      difference[..., :-1] //= 65535 if one.samples else 255
    # Of 65536 levels float32 does not know each.
    assert difference.max() <= (8 if one.samples else 1)


def with_contexts():
  """Columns that tell of each other: contexts are worth their tables."""
  header, symbols = make_splats(
    2500, seed=11, height=300, width=200, adaptive=True
  )
  major, ratio = symbols.scale.T
  rng = np.random.default_rng(0)
  spread = np.exp(np.clip(2 * major - ratio - 40, -60, 60) / 20)[:, None]
  feature = rng.normal(0, spread, symbols.feature.shape)
  weight = np.clip(rng.normal(0, 1 + ratio / 8), -30, 30)
  return header, symbols._replace(
    weight=np.rint(weight).astype(int), feature=np.rint(feature).astype(int)
  )


def with_coarse_positions():
  """Steps of several cells, a very wide image, sharp edges, five lanes."""
  header, symbols = make_splats(
    300, seed=12, height=9, width=4000, lanes=5, adaptive=True
  )
  lattice = header.lattice._replace(scale_step=40000, position_precision=0)
  header = dataclasses.replace(
    header, lattice=lattice, edge="sharp", blend="sum"
  )
  zero = np.zeros_like(symbols.angle)
  return header, symbols._replace(
    scale=symbols.scale // 8, position=symbols.position // 512, angle=zero
  )


def with_the_largest_image():
  return make_splats(3, seed=13, height=65536, width=4096)


@pytest.mark.parametrize(
  "make", (with_contexts, with_coarse_positions, with_the_largest_image)
)
def test_what_the_golden_files_lack(make):
  check_symbols(codec.encode(*make()))


def read_by(decode, data):
  """What a decoder makes of a file, or nothing."""
  try:
    return decode(data)
  except ValueError:
    return None


def test_both_refuse_the_same_files():
  rng = np.random.default_rng(1)
  num_read = 0
  for trial in range(8):
    header, symbols = make_splats(
      int(rng.integers(1, 20)),
      seed=trial,
      height=9,
      width=17,
      channels=1 + trial % 3,
      adaptive=trial % 2 == 0,
    )
    payloads = read_sections(codec.encode(header, symbols))
    for _ in range(25):
      name = rng.choice([*payloads][1:])
      damaged = bytearray(payloads[name])
      damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
      data = write_sections(payloads | {name: bytes(damaged)})
      found = read_by(tiny_reader.decode, data)
      assert (found is None) == (read_by(codec.decode, data) is None)
      if found:
        check_symbols(data)
        num_read += 1
  assert 10 < num_read < 150


@pytest.mark.parametrize("name", ("stack", "linear_rgb", "premultiplied_rgba"))
def test_both_refuse_the_same_maps(name):
  rng = np.random.default_rng(2)
  payloads = read_sections((GOLDEN[0].parent / f"{name}.jgs").read_bytes())
  # Nothing of the splats matters here: one is enough.
  header, symbols = codec.decode(write_sections(payloads))
  header = dataclasses.replace(header, num_gaussians=1)
  one = codec.Symbols(*(leaf[:1] for leaf in symbols))
  payloads = read_sections(codec.encode(header, one))
  num_read = 0
  for _ in range(300):
    section = rng.choice([*payloads][1:-3])
    damaged = bytearray(payloads[section])
    damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    data = write_sections(payloads | {section: bytes(damaged)})
    found = read_by(tiny_reader.decode, data)
    known = read_by(codec.decode, data)
    assert (found is None) == (known is None), bytes(damaged)
    if found:
      check_maps(found[0].maps, known[0].pictures)
      assert found[0].icc == known[0].icc
      num_read += 1
  assert 5 < num_read < 295


@pytest.mark.parametrize(
  "tags", ("HPSWFF", "HPSFW", "HPSWZF", "HPSW", "HIMPSWF", "HPMSWF", "")
)
def test_both_refuse_the_same_sections(tags):
  data = (GOLDEN[0].parent / "one.jgs").read_bytes()
  payloads = {name[0].upper(): p for name, p in read_sections(data).items()}
  damaged = data[:5]
  for tag in tags:
    payload = payloads.get(tag, b"new")
    section = tag.encode() + bytes([len(payload)]) + payload
    damaged += section + zlib.crc32(section).to_bytes(4, "little")
  for decode in (tiny_reader.decode, codec.decode):
    with pytest.raises(ValueError, match=r"section|tag|missing"):
      decode(damaged)


def test_example():
  rows = re.findall(r"^ +((?:[0-9A-F]{2} ?)+)(?:  .*)?$", EXAMPLE, re.M)
  data = bytes.fromhex("".join(rows))
  assert data == (GOLDEN[0].parent / "one.jgs").read_bytes()


def test_values_to_check():
  head = types.SimpleNamespace(scale_step=3277, angle_precision=1024)
  lattice = tiny_reader.Lattice(head)
  names = {"O": lattice.octaves, "A": lattice.A}
  names["slope"] = list(map(tiny_reader.slope, range(2048)))
  names["S"] = tiny_reader.scaled
  rows = re.findall(r"^    (\w+[\[(].*) = (-?\d+)$", EXAMPLE, re.M)
  assert len(rows) > 9
  for expression, value in rows:
    assert eval(expression, names) == int(value), expression
  kinds = ("", "HISTOGRAM", "LAPLACE", "GAUSS", "MIXTURE")
  rows = re.findall(
    r"^    ([A-Z]+), low -2, size (\d+), (.*):\n((?: +\d+)+)", EXAMPLE, re.M
  )
  assert {row[0] for row in rows} == {*kinds[1:]}
  for kind, size, params, want in rows:
    if kind == "HISTOGRAM":
      params = bytes.fromhex(params.removeprefix("params"))
    else:
      params = bytes(map(int, re.findall(r"\d+", params)))
    table = bytes([kinds.index(kind), 0, 3, int(size)]) + params
    _, _, starts = tiny_columns.read_table(tiny_columns.Reader(table))
    assert np.diff(starts).tolist() == list(map(int, want.split())), kind
