import zipfile

import numpy as np
import pytest

from jaxgs import codec
from jaxgs.config import RasterSpec
from jaxgs.convert import (
  Drawing,
  check_drawing,
  kind_of,
  read_npz,
  write_npz,
)
from jaxgs.io import ImageError
from tests.convert.drawing_test import scattered

DRAWING = Drawing(
  scattered(channels=4),
  40,
  50,
  RasterSpec("sum", top_k=7, cutoff=5.5, epsilon=0.25, edge="sharp"),
  bit_depth=16,
  has_alpha=True,
  gamma=2.2,
)


def test_round_trip(tmp_path):
  path = tmp_path / "a.npz"
  write_npz(path, DRAWING)
  assert kind_of(path) == "npz"
  found = read_npz(path)
  wanted = check_drawing(DRAWING)
  assert found[1:] == wanted[1:]
  for a, b in zip(found.gaussians, wanted.gaussians, strict=True):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == np.float32
  with np.load(path, allow_pickle=False) as arrays:
    assert arrays["mean"].shape == (300, 2)
    assert arrays["blend"].item() == "sum"
    assert arrays["version"].item() == 1


STACK = Drawing(
  scattered(channels=4),
  40,
  50,
  RasterSpec(cutoff=8.0),
  maps=(
    codec.Map(name="a", channels=3, alpha="none", color_transform="ycocg"),
    codec.Map(
      name="Ä b",
      channels=1,
      sample="half",
      bit_depth=16,
      curve="log",
      curve_scale=-99,
      curve_peak=200,
    ),
  ),
  icc=b"colours",
)


def test_maps_and_profiles(tmp_path):
  path = tmp_path / "a.npz"
  write_npz(path, STACK)
  assert read_npz(path)[1:] == check_drawing(STACK)[1:]


@pytest.mark.parametrize(
  ("change", "reason"),
  (
    ({"maps": np.array(7)}, "maps is not text"),
    ({"maps": np.array("{")}, "maps: Expecting"),
    ({"maps": np.array("7")}, "maps: .*not iterable"),
    ({"maps": np.array('["a"]')}, "maps: .*mapping"),
    ({"maps": np.array('[{"name": "a"}]')}, "maps: .*channels"),
    ({"maps": np.array('[{"channels": 4, "size": 1}]')}, "maps: .*size"),
    ({"maps": np.array('[{"channels": "4"}]')}, "maps: channels is '4'"),
    ({"maps": np.array("[" * 99999)}, "maps: "),
    ({"maps": np.array('[{"channels": 4, "name": "/"}]')}, "a slash"),
    ({"icc": np.array([1.5])}, "icc is not bytes"),
    ({"icc": np.zeros(1 << 21, np.uint8)}, "profile of 2097152 bytes"),
  ),
)
def test_damaged_maps(tmp_path, change, reason):
  path = tmp_path / "a.npz"
  write_npz(path, STACK)
  with np.load(path) as arrays:
    values = dict(arrays) | change
  np.savez(path, **values)
  with pytest.raises(ImageError, match=reason):
    read_npz(path)


def test_an_invalid_drawing_is_not_written(tmp_path):
  path = tmp_path / "a.npz"
  with pytest.raises(ValueError, match="header height"):
    write_npz(path, DRAWING._replace(height=0))
  assert not path.exists()
  with pytest.raises(ImageError, match="no such folder"):
    write_npz(tmp_path / "missing" / "a.npz", DRAWING)


def _written(tmp_path, change):
  """A file with some arrays replaced, or left out where None."""
  path = tmp_path / "a.npz"
  write_npz(path, DRAWING)
  with np.load(path) as arrays:
    values = dict(arrays) | change
  np.savez(path, **{k: v for k, v in values.items() if v is not None})
  return path


def test_what_may_be_missing(tmp_path):
  change = dict.fromkeys(("bit_depth", "has_alpha", "gamma"))
  found = read_npz(_written(tmp_path, change))
  assert (found.bit_depth, found.has_alpha, found.gamma) == (8, False, 1.0)


@pytest.mark.parametrize(
  ("change", "reason"),
  (
    ({"version": None}, "no value version"),
    ({"version": 2}, "is of version 2, expected 1"),
    ({"mean": None}, "no array mean"),
    ({"width": None}, "no value width"),
    ({"width": 7.5}, "width is not an integer"),
    ({"width": [50]}, "width is not an integer"),
    ({"width": -50}, "header width: got -50"),
    ({"blend": "max"}, "blend must be norm or sum"),
    ({"blend": 3}, "blend is not text"),
    ({"cutoff": np.nan}, r"cutoff must be in \(0, 80\]"),
    ({"epsilon": 1}, "epsilon is not a float"),
    ({"has_alpha": 1}, "has_alpha is not a bool"),
    ({"mean": np.zeros((300, 3))}, r"mean is float64\(300, 3\)"),
    ({"mean": np.zeros(())}, r"mean has shape \(\), expected 1 to"),
    ({"angle": np.full(300, np.nan)}, "angle has values that are not finite"),
    ({"angle": np.array([{}] * 300)}, "Object arrays cannot be loaded"),
    ({"angle": np.zeros((1 << 24) + 1, np.int8)}, "angle has shape"),
  ),
)
def test_bad_files(tmp_path, change, reason):
  path = _written(tmp_path, change)
  with pytest.raises(ImageError, match=reason) as caught:
    read_npz(path)
  assert str(caught.value).startswith(f"{path}: ")
  assert "\n" not in str(caught.value)


def test_arrays_that_unpack_to_much_more(tmp_path):
  path = tmp_path / "a.npz"
  np.savez_compressed(path, mean=np.zeros((1 << 19, 2)), log_scale=np.zeros(2))
  with pytest.raises(ImageError, match=r"83\d{5} bytes are packed into it"):
    kind_of(path)


def test_arrays_that_are_cut_short(tmp_path):
  path = _written(tmp_path, {})
  with zipfile.ZipFile(path) as archive:
    records = {name: archive.read(name) for name in archive.namelist()}
  records["mean.npy"] = records["mean.npy"].replace(b"(300, 2)", b"(900, 2)")
  with zipfile.ZipFile(path, "w") as archive:
    for name, data in records.items():
      archive.writestr(name, data)
  with pytest.raises(ImageError, match=r"mean.npy ends before its \(900, 2\)"):
    read_npz(path)


def test_damaged_files(tmp_path):
  """Every flip: a refusal (there are checksums), or what does not matter."""
  path = tmp_path / "a.npz"
  few = DRAWING._replace(gaussians=scattered(3, channels=4))
  write_npz(path, few)
  data, wanted = path.read_bytes(), check_drawing(few)
  for place in range(0, len(data), 11):
    flipped = bytearray(data)
    flipped[place] ^= 1 << place % 8
    path.write_bytes(flipped)
    try:
      found = read_npz(path)
    except ImageError:
      continue
    for a, b in zip(found.gaussians, wanted.gaussians, strict=True):
      np.testing.assert_array_equal(a, b)
  for cut in range(0, len(data), 97):
    path.write_bytes(data[:cut])
    with pytest.raises(ImageError, match="no zip archive"):
      read_npz(path)
