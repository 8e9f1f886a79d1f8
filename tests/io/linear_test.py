import logging

import numpy as np
import pytest

from jaxgs.io import ImageError, read_image, write_samples
from jaxgs.io.linear import clean_linear


def _tiff(folder, samples, has_alpha=False):
  import tifffile

  path = folder / "a.tif"
  extra = {"extrasamples": ["unassalpha"]} if has_alpha else {}
  tifffile.imwrite(path, samples, photometric="minisblack", metadata=None)
  if extra:
    tifffile.imwrite(
      path,
      samples,
      photometric="minisblack",
      planarconfig="contig",
      metadata=None,
      **extra,
    )
  return path


def _picture(**places):
  samples = np.full((4, 5), 2, np.float32)
  for place, value in places.items():
    samples[int(place[1]), int(place[2])] = value
  return samples


@pytest.mark.parametrize("dtype", (np.float16, np.float32, np.float64))
def test_not_finite(tmp_path, caplog, dtype):
  path = _tiff(tmp_path, _picture(_12=np.nan, _30=np.inf).astype(dtype))
  with pytest.raises(ImageError) as caught:
    read_image(path)
  expected = "2 of 20 pixels (first at x=2, y=1) are NaN or infinite"
  assert expected in str(caught.value)
  with caplog.at_level(logging.WARNING):
    pixels = read_image(path, nan="zero").pixels[..., 0]
  np.testing.assert_array_equal(pixels, _picture(_12=0, _30=0))
  assert f"{expected}: read as 0" in caplog.text


def test_too_large_for_a_float32(tmp_path):
  path = _tiff(tmp_path, _picture().astype(np.float64) * 1e300)
  with pytest.raises(ImageError, match=r"20 of 20 pixels .* infinite"):
    read_image(path)


def test_place_is_told_of_the_upright_picture(tmp_path):
  import tifffile

  path = tmp_path / "a.tif"
  # 8: rows are columns, the last is the top.
  turned = [(274, "H", 1, 8, True)]
  samples = _picture(_12=np.nan)
  tifffile.imwrite(path, samples, metadata=None, extratags=turned)
  upright = np.isnan(np.rot90(samples)).argmax()
  y, x = np.unravel_index(upright, (5, 4))
  with pytest.raises(ImageError, match=f"x={x}, y={y}"):
    read_image(path)


def test_negative(tmp_path, caplog):
  path = _tiff(tmp_path, _picture(_12=-0.0019, _30=-0.001))
  with caplog.at_level(logging.WARNING):
    pixels = read_image(path).pixels[..., 0]
  np.testing.assert_array_equal(pixels, _picture(_12=0, _30=0))
  assert "2 of 20 pixels (first at x=2, y=1) have colours of -0.0019" in (
    caplog.text
  )
  # More than 1/1000 of the peak, 2.
  path = _tiff(tmp_path, _picture(_12=-0.0021))
  with pytest.raises(ImageError, match=r"1 of 20 .* of -0.0021 to 2, expected"):
    read_image(path)
  pixels = read_image(path, nan="zero").pixels[..., 0]
  np.testing.assert_array_equal(pixels, _picture(_12=0))


def test_alpha_out_of_range(tmp_path):
  samples = np.full((2, 3, 2), 0.5, np.float32)
  samples[1, 2, 1] = 1.0005
  path = _tiff(tmp_path, samples, has_alpha=True)
  assert read_image(path).pixels.max() == 1
  samples[1, 2, 1] = 1.5
  path = _tiff(tmp_path, samples, has_alpha=True)
  with pytest.raises(ImageError, match=r"have alpha of 0.5 to 1.5, expected 0"):
    read_image(path)
  assert read_image(path, nan="zero").pixels.max() == 1


def test_black_has_no_negligible_negatives():
  pixels = np.zeros((2, 2, 1), np.float32)
  clean_linear("a", pixels, has_alpha=False, nan="error")
  pixels[0, 0] = -1e-9
  with pytest.raises(ImageError, match="no negative"):
    clean_linear("a", pixels, has_alpha=False, nan="error")


def test_light_without_alpha_is_lost_in_openexr(tmp_path):
  samples = np.array([[[3, 2, 1, 0], [3, 2, 1, 0.25]]], np.float32)
  write_samples(tmp_path / "a.exr", samples, has_alpha=True)
  pixels = read_image(tmp_path / "a.exr").pixels
  np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0, 0])
  np.testing.assert_array_equal(pixels[0, 1], [3, 2, 1, 0.25])
