"""Curves, alpha and normals: there and back."""

import numpy as np
import pytest

from jaxgs.codec import Map
from jaxgs.codec.maps import validate_maps
from jaxgs.transfer import (
  curve_of,
  from_coded,
  premultiply,
  pu21_decode,
  pu21_encode,
  to_coded,
  typical_value,
  unpremultiply,
)


def picture(channels=3, most=50.0, seed=0):
  rng = np.random.default_rng(seed)
  values = most * rng.uniform(0, 1, (8, 9, channels)) ** 6
  values.flat[0] = most
  return values.astype(np.float32)


def linear(pixels, curve, sample="float", **fields):
  depth = {"half": 16, "float": 32}[sample]
  colors = pixels[..., : pixels.shape[2] - ("alpha" in fields)]
  one = Map(
    channels=pixels.shape[2],
    sample=sample,
    bit_depth=depth,
    **curve_of(colors, curve),
    **fields,
  )
  validate_maps((one,), one.channels)
  return one


def test_pu21_is_the_published_encoding():
  # Its ends, and 100 cd/m^2 at about 256: Mantiuk and Azimi 2021, section 3.
  levels = pu21_encode(np.array([0.005, 100.0, 10000.0]))
  np.testing.assert_allclose(levels, [0.0, 256.3, 595.4], atol=0.1)
  luminance = np.geomspace(1e-4, 1e4, 99)
  back = pu21_decode(pu21_encode(luminance))
  np.testing.assert_allclose(back, luminance, rtol=1e-6)


@pytest.mark.parametrize("curve", ["log", "pu"])
@pytest.mark.parametrize("most", [1e-30, 1e-3, 0.7, 50.0, 1e5, 1e30, 1.5e38])
def test_curves_hold_every_value(curve, most):
  pixels = picture(most=most)
  one = linear(pixels, curve)
  coded = to_coded(pixels, one)
  assert coded.dtype == np.float32
  assert coded.min() >= 0
  assert 0.98 < coded.max() <= 1
  out = from_coded(coded, one)
  assert out.dtype == np.float32
  # Errors of the last bits grow with the slope of the curve.
  np.testing.assert_allclose(out, pixels, rtol=3e-5, atol=1e-6 * most)


@pytest.mark.parametrize("curve", ["log", "pu"])
def test_steps_are_relative(curve):
  one = linear(picture(most=50.0), curve)
  pixels = np.array([2.0, 9.0, 40.0], np.float32)[None, :, None].repeat(3, -1)
  coded = to_coded(pixels, one)
  share = from_coded(coded + np.float32(-0.01), one) / pixels
  assert 0.9 < share.min() < share.max() < 0.99
  assert np.ptp(share) < 0.03


@pytest.mark.parametrize("curve", ["log", "pu"])
def test_black_pictures_and_drawn_nonsense(curve):
  one = linear(np.zeros((2, 2, 3), np.float32), curve)
  black = from_coded(np.zeros((2, 2, 3), np.float32), one)
  np.testing.assert_allclose(black, 0, atol=1e-12)
  odd = np.array([np.nan, -np.inf, np.inf, -1.0, 2.0, 0.5], np.float32)
  out = from_coded(odd[None, :, None].repeat(3, -1), one)
  assert np.isfinite(out).all()
  np.testing.assert_allclose(out[0, :4, 0], [0, 0, 1, 0], atol=1e-6)


def test_scaling_a_picture_changes_nothing_but_the_scale():
  pixels = picture()
  assert typical_value(pixels * 64) == pytest.approx(64 * typical_value(pixels))
  for curve in ("log", "pu"):
    a, b = (linear(pixels * np.float32(s), curve) for s in (1, 64))
    coded = to_coded(pixels, a), to_coded(pixels * np.float32(64), b)
    np.testing.assert_allclose(*coded, atol=1e-5)


def test_halves():
  pixels = picture(most=1e6)
  out = from_coded(to_coded(pixels, one := linear(pixels, "log", "half")), one)
  assert out.max() == 65504
  np.testing.assert_array_equal(out, out.astype(np.float16))


@pytest.mark.parametrize("depth", [8, 16])
def test_premultiplied_integers(depth):
  peak = 2**depth - 1
  rng = np.random.default_rng(1)
  pixels = np.rint(rng.uniform(0, peak, (40, 40, 4))) / peak
  pixels[:4, :, 3] = 0
  pixels = pixels.astype(np.float32)
  one = Map(channels=4, bit_depth=depth, alpha="premultiplied")
  coded = to_coded(pixels, one)
  np.testing.assert_allclose(coded, premultiply(pixels), rtol=1e-6)
  out = from_coded(coded, one)
  seen = pixels[..., 3] > 0
  np.testing.assert_array_equal(out[seen], np.rint(pixels[seen] * peak))
  np.testing.assert_array_equal(out[~seen], 0)


def test_little_alpha_is_safe():
  one = Map(channels=4, alpha="premultiplied")
  noise = np.array([[[0.3, 0.001, 0.0, 0.0019], [0.3, 0.2, 0.1, 0.003]]])
  out = from_coded(noise.astype(np.float32), one)
  # Rounded, the first alpha is 0 and the second 1 / 255.
  np.testing.assert_array_equal(out[0], [[0, 0, 0, 0], [255, 255, 255, 1]])


def test_premultiplied_linear_light():
  pixels = np.concatenate([picture(), picture(1, 1.0, 2)], -1)
  pixels[0, :, 3] = 0
  one = linear(pixels, "log", alpha="premultiplied")
  out = from_coded(to_coded(pixels, one), one)
  np.testing.assert_array_equal(out[0, :, :3], 0)
  opaque = pixels[..., 3] > 0.01
  np.testing.assert_allclose(out[opaque], pixels[opaque], rtol=0.01, atol=1e-3)
  assert out[..., :3].max() <= 2 ** (one.curve_peak / 64) * 1.001


def test_unpremultiply_is_the_inverse():
  pixels = picture(2, 1.0)
  pixels[0, 0] = [0.5, 0.0]
  back = unpremultiply(premultiply(pixels))
  assert back[0, 0, 0] == 0
  np.testing.assert_allclose(back[1:], pixels[1:], rtol=1e-6)


def test_normals_get_their_length_back():
  rng = np.random.default_rng(3)
  normal = rng.normal(0, 1, (20, 20, 3))
  normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
  one = Map(channels=3, bit_depth=16, is_normal=True)
  short = 0.5 * (0.6 * normal) + 0.5  # Length 0.6, of the same direction.
  out = from_coded(short.astype(np.float32), one) / 65535.0 * 2 - 1
  np.testing.assert_allclose(out, normal, atol=1e-4)
  nothing = from_coded(np.full((1, 1, 3), 0.5, np.float32), one)
  np.testing.assert_array_equal(nothing[0, 0], [32768, 32768, 65535])
