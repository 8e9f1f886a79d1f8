import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from jaxgs.io import ImageError, write_image
from jaxgs.saliency import pixel_mask, read_map, resize_map


def test_any_image_is_a_map(tmp_path):
  path = tmp_path / "map.png"
  pixels = np.zeros((6, 9, 3), np.uint8)
  pixels[:3] = 255
  pixels[3, :, 0] = 255
  iio.imwrite(path, pixels)
  found = read_map(path)
  np.testing.assert_allclose(found[:, 4], [1, 1, 1, 0.299, 0, 0], atol=1e-6)
  big = resize_map(found, (60, 33))
  assert big.shape == (60, 33)
  assert big.dtype == np.float32
  assert big[:25].min() > 0.99
  assert big[45:].max() < 0.01
  assert big.min() >= 0


def test_refuses_a_map_that_says_nothing(tmp_path):
  path = tmp_path / "map.png"
  write_image(path, np.zeros((4, 5, 1), np.float32))
  with pytest.raises(
    ImageError, match=r"map.png: a saliency map that is black"
  ):
    read_map(path)


def test_refuses_a_map_with_nan(tmp_path):
  path = tmp_path / "map.tiff"
  tifffile.imwrite(path, np.full((4, 5), np.nan, np.float32))
  with pytest.raises(ImageError, match=r"map.tiff: 20 of 20 pixels .* NaN"):
    read_map(path)


def test_pixel_mask():
  mask = pixel_mask(np.array([[0, 1], [2, 4]]), least=0.2)
  assert mask.dtype == np.float32
  np.testing.assert_allclose(mask, [[0.2, 0.4], [0.6, 1.0]], rtol=1e-6)
  assert mask.max() <= 1
  np.testing.assert_allclose(pixel_mask(np.zeros((2, 3)), least=0.5), 0.5)


@pytest.mark.parametrize(
  ("saliency", "least", "reason"),
  (
    (np.zeros((2, 2, 1)), 0.2, r"must be \(H, W\), got \(2, 2, 1\)"),
    (np.zeros((0, 2)), 0.2, r"must be \(H, W\), got \(0, 2\)"),
    ([[0.0, np.nan]], 0.2, "finite and >= 0, got nan"),
    ([[0.0, np.inf]], 0.2, "finite and >= 0, got 0.0 to inf"),
    ([[-1.0, 0.0]], 0.2, "finite and >= 0, got -1.0"),
    ([[0.0, 1.0]], 0.0, r"least must be in \(0, 1\], got 0.0"),
    ([[0.0, 1.0]], np.nan, r"least must be in \(0, 1\], got nan"),
  ),
)
def test_refuses_what_is_no_map(saliency, least, reason):
  with pytest.raises(ValueError, match=reason):
    pixel_mask(saliency, least=least)
