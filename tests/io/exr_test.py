import builtins
import importlib.util
import io
import logging
import resource
import struct

import numpy as np
import OpenEXR
import pytest

from jaxgs.io import ImageError, check_format, read_image
from jaxgs.io.exr_header import read_parts


def _waves(height=37, width=50, names="RGB", dtype=np.float16):
  y, x = np.mgrid[:height, :width]
  return {
    name: (4 + 3 * np.sin((x + k * y) / 9)).astype(dtype)
    for k, name in enumerate(names)
  }


def _exr(channels, compression="ZIP", **header):
  header = {
    "compression": getattr(OpenEXR, f"{compression}_COMPRESSION"),
    "type": OpenEXR.scanlineimage,
    **header,
  }
  file = io.BytesIO()
  # A copy: it puts its own objects in the place of the arrays.
  OpenEXR.File(header, dict(channels)).write(file)
  return file.getvalue()


def _tiled(channels, compression="PIZ", tile=(16, 16)):
  description = OpenEXR.TileDescription()
  description.xSize, description.ySize = tile
  return _exr(channels, compression, type=OpenEXR.tiledimage, tiles=description)


def _parts(*channels):
  file = io.BytesIO()
  header = {
    "type": OpenEXR.scanlineimage,
    # The same in all parts, whatever they hold of it.
    "displayWindow": (np.array([0, 0], np.int32), np.array([9, 9], np.int32)),
  }
  parts = [
    OpenEXR.Part({**header, "name": f"part{i}"}, dict(c))
    for i, c in enumerate(channels)
  ]
  OpenEXR.File(parts).write(file)
  return file.getvalue()


def _read(folder, data, **options):
  path = folder / "picture"
  path.write_bytes(data)
  return read_image(path, **options)


def _refusal(folder, data):
  with pytest.raises(ImageError) as caught:
    _read(folder, data)
  message = str(caught.value)
  assert "\n" not in message
  return message


@pytest.mark.parametrize("compression", ("NO", "RLE", "ZIPS", "ZIP", "PIZ"))
@pytest.mark.parametrize("dtype", (np.float16, np.float32))
def test_read(tmp_path, compression, dtype):
  channels = _waves(names="RGBA", dtype=dtype)
  channels["A"][:] = 0.5
  for data in (_exr(channels, compression), _tiled(channels, compression)):
    image = _read(tmp_path, data)
    expected = np.stack([channels[name] for name in "RGBA"], axis=-1)
    expected[..., :3] *= 2  # They were multiplied by alpha.
    np.testing.assert_array_equal(image.pixels, expected)
    half = dtype == np.float16
    assert image.bit_depth == (16 if half else 32)
    assert (image.sample, image.has_alpha, image.icc) == (
      "half" if half else "float",
      True,
      None,
    )


@pytest.mark.parametrize("compression", ("PXR24", "B44", "B44A", "DWAA"))
def test_read_lossy(tmp_path, compression):
  channels = _waves()
  image = _read(tmp_path, _exr(channels, compression))
  np.testing.assert_allclose(image.pixels[..., 1], channels["G"], rtol=0.05)


@pytest.mark.parametrize(
  ("names", "picked"),
  (
    (("Y",), ("Y",)),
    (("Y", "A"), ("Y", "A")),
    (("R", "G", "B", "Z", "N.X"), ("R", "G", "B")),
    (("View.R", "View.G", "View.B", "View.A", "Z"), ("View.R", "View.G")),
    (("R", "G", "B", "a.R", "a.G", "a.B"), ("R", "G", "B")),
  ),
)
def test_channels(tmp_path, caplog, names, picked):
  channels = _waves(names=names)
  for name in names:
    if name[-1] == "A":
      channels[name][:] = 1
  with caplog.at_level(logging.WARNING):
    image = _read(tmp_path, _exr(channels))
  for i, name in enumerate(picked):
    np.testing.assert_array_equal(image.pixels[..., i], channels[name])
  left = [name for name in names if name in ("Z", "N.X", "a.R")]
  assert ("channels left out" in caplog.text) == bool(left)
  assert all(name in caplog.text for name in left)


@pytest.mark.parametrize(
  ("names", "reason"),
  (
    (("Z",), "OpenEXR channels Z; expected R, G, B or Y"),
    (("R", "G"), "OpenEXR channels G, R;"),
    (("a.R", "a.G", "a.B", "b.R", "b.G", "b.B"), "channels a.B, a.G, a.R, b.B"),
    (("Y", "RY", "BY"), "channels BY, RY, Y;"),
  ),
)
def test_other_channels_are_refused(tmp_path, names, reason):
  assert reason in _refusal(tmp_path, _exr(_waves(names=names)))


def test_integers_and_subsampling_are_refused(tmp_path):
  data = _exr(_waves(dtype=np.uint32))
  assert "channel R of integers" in _refusal(tmp_path, data)
  data = _exr(_waves(names="Y"))
  # A half, not perceptually linear, one sample per pixel.
  one, two = (b"Y\0" + struct.pack("<4i", 1, 0, n, n) for n in (1, 2))
  assert one in data
  data = data.replace(one, two)
  assert "channel Y is subsampled 2x2" in _refusal(tmp_path, data)


def test_mixed_precision_is_float(tmp_path):
  channels = _waves()
  channels["G"] = channels["G"].astype(np.float32)
  assert _read(tmp_path, _exr(channels)).sample == "float"


def test_first_of_several_parts(tmp_path, caplog):
  first, other = _waves(), _waves(5, 4)
  with caplog.at_level(logging.WARNING):
    image = _read(tmp_path, _parts(first, other))
  np.testing.assert_array_equal(image.pixels[..., 0], first["R"])
  assert "the first of 2 parts" in caplog.text


def test_other_primaries_are_told(tmp_path, caplog):
  rec2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)
  with caplog.at_level(logging.WARNING):
    _read(tmp_path, _exr(_waves(), chromaticities=rec2020))
  assert "primaries" in caplog.text


def test_nan(tmp_path):
  channels = _waves(names="Y")
  channels["Y"][3, 7] = np.nan
  data = _exr(channels)
  assert "1 of 1850 pixels (first at x=7, y=3)" in _refusal(tmp_path, data)
  assert _read(tmp_path, data, nan="zero").pixels[3, 7] == 0


def test_deep_is_refused(tmp_path):
  data = bytearray(_exr(_waves()))
  struct.pack_into("<I", data, 4, 2 | 0x800)
  assert "deep" in _refusal(tmp_path, bytes(data))
  data = _exr(_waves()).replace(b"scanlineimage", b"deepscanlines")
  assert "deep" in _refusal(tmp_path, data)


def _patched(data, name, kind, layout, *values):
  """The file with other numbers in an attribute."""
  start = data.index(name + b"\0" + kind + b"\0")
  patched = bytearray(data)
  struct.pack_into(layout, patched, start + len(name + kind) + 6, *values)
  return bytes(patched)


@pytest.mark.parametrize(
  ("window", "reason"),
  (
    ((0, 0, 65536, 3), "65537x4 is larger"),
    ((-(2**31), -(2**31), 2**31 - 1, 2**31 - 1), "is larger"),
    ((5, 0, 4, 3), "zero-sized"),
  ),
)
def test_sizes_out_of_range(tmp_path, window, reason):
  data = _patched(_exr(_waves()), b"dataWindow", b"box2i", "<4i", *window)
  assert reason in _refusal(tmp_path, data)


def test_enormous_tiles_and_many_channels_are_refused(tmp_path):
  data = _tiled(_waves())
  for tile in ((0, 16), (16, 70_000), (9000, 9000), (2**31, 2**31)):
    patched = _patched(data, b"tiles", b"tiledesc", "<2I", *tile)
    assert "damaged OpenEXR: tiles of" in _refusal(tmp_path, patched)
  data = _exr(_waves(names=[f"c{i}" for i in range(33)]))
  data = _patched(data, b"dataWindow", b"box2i", "<4i", 0, 0, 8191, 8191)
  assert "33 channels of 8192x8192 are too many" in _refusal(tmp_path, data)


def _whole_files():
  channels = _waves(names="RGBA")
  channels["A"][:] = 1
  return {
    "zip": _exr(channels),
    "none": _exr(channels, "NO"),
    "tiled": _tiled(channels),
    "parts": _parts(channels, _waves(9, 8)),
  }


@pytest.mark.parametrize("name", sorted(_whole_files()))
def test_every_truncation_is_refused(tmp_path, capfd, name):
  data = _whole_files()[name]
  _read(tmp_path, data)
  cuts = {*range(1, 20), *range(20, len(data) - 12, len(data) // 60)}
  for cut in sorted(cuts):
    assert "truncated" in _refusal(tmp_path, data[:-cut])
  # Found before the library, which writes about it.
  assert capfd.readouterr() == ("", "")


def test_unfinished_file_is_refused(tmp_path):
  data = bytearray(_exr(_waves()))
  # The table is behind the last attribute, the type, and the header's zero.
  table = data.index(b"scanlineimage") + len(b"scanlineimage") + 1
  # The table has one entry per 16 rows of 37.
  for position in range(table, table + 24):
    data[position] = 0
  assert "truncated" in _refusal(tmp_path, bytes(data))


@pytest.mark.parametrize("name", sorted(_whole_files()))
def test_flipped_bytes(tmp_path, capfd, name):
  data = _whole_files()[name]
  rng = np.random.default_rng(0)
  outcomes = set()
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  for trial in range(80):
    damaged = bytearray(data)
    most = 450 if trial % 2 else len(data)  # The header, or anywhere.
    for place in rng.integers(4, most, rng.integers(1, 4)):
      damaged[place] = rng.integers(256)
    try:
      image = _read(tmp_path, bytes(damaged), nan="zero")
      assert np.isfinite(image.pixels).all()
      outcomes.add("read")
    except ImageError as error:
      assert "\n" not in str(error)
      outcomes.add("refused")
  assert outcomes == {"read", "refused"}
  assert not capfd.readouterr().out  # The library writes to stderr.
  grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
  assert grown < 200_000  # kB.


def test_headers_without_end_or_parts(tmp_path):
  head = b"\x76\x2f\x31\x01" + struct.pack("<I", 2)
  several = b"\x76\x2f\x31\x01" + struct.pack("<I", 2 | 0x1000)
  for data in (head, head + b"a" * 600, head + b"\0", several + b"\0\0"):
    assert "truncated or damaged OpenEXR" in _refusal(tmp_path, data)
  huge = head + b"channels\0chlist\0" + struct.pack("<i", 2**31 - 1)
  assert "attribute channels of 2147483647 bytes" in _refusal(tmp_path, huge)


def test_without_its_package(tmp_path, monkeypatch):
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda name: None if name == "OpenEXR" else find_spec(name),
  )
  assert "pip install 'jaxgs[hdr]'" in _refusal(tmp_path, _exr(_waves()))
  with pytest.raises(ImageError, match=r"jaxgs\[hdr\]"):
    check_format(tmp_path / "a.exr", (4, 5, 3), has_alpha=False, sample="half")


def test_openexr_is_imported_late(tmp_path, monkeypatch):
  import_module = builtins.__import__

  def refuse(name, *args):
    assert name != "OpenEXR"
    return import_module(name, *args)

  monkeypatch.setattr(builtins, "__import__", refuse)
  (part,) = read_parts("a", _exr(_waves()))
  assert (part.height, part.width, part.tiled) == (37, 50, False)
