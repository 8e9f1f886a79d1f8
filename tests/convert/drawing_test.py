import pathlib

import numpy as np
import pytest

import jaxgs
from jaxgs import codec
from jaxgs.config import RasterSpec
from jaxgs.convert import (
  Drawing,
  check_drawing,
  decode_drawing,
  encode_drawing,
  render_drawing,
  render_maps,
)
from jaxgs.convert.inside import move_inside
from jaxgs.decompress import draw_maps
from jaxgs.transfer import premultiply, to_shown
from jaxgs.types import Gaussians2D

NORMAL = codec.Map(channels=3, is_normal=True)
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"


def scattered(n=300, *, height=40, width=50, channels=3, seed=0):
  """Gaussians with every sixth centre or so outside of the picture."""
  rng = np.random.default_rng(seed)
  return Gaussians2D(
    rng.uniform([-4, -4], [width + 4, height + 4], (n, 2)),
    rng.uniform(0.3, 1.8, (n, 2)),
    rng.uniform(-7, 7, n),
    rng.uniform(-1, 1, n),
    rng.uniform(0, 1, (n, channels)),
  )


def drawing(**settings):
  channels = settings.pop("channels", 3)
  raster = RasterSpec(cutoff=12.5)
  gaussians = scattered(channels=channels)
  return Drawing(gaussians, 40, 50, raster)._replace(**settings)


def psnr_db(a, b, peak=255):
  mse = np.mean(((a.astype(np.float64) - b) / peak) ** 2)
  return -10 * np.log10(max(mse, 1e-12))


@pytest.mark.parametrize(
  "settings",
  (
    {},
    {"raster": RasterSpec("sum", edge="sharp"), "channels": 1},
    {"bit_depth": 16, "has_alpha": True, "gamma": 2.0, "channels": 4},
    {"raster": RasterSpec(top_k=0, epsilon=0.01), "channels": 7},
  ),
)
def test_file_draws_what_was_put_in(settings):
  given = drawing(**settings)
  data = encode_drawing(given)
  found = decode_drawing(data)
  exact = render_drawing(given)
  peak = np.iinfo(exact.dtype).max
  picture = jaxgs.decompress(data)
  assert picture.dtype == exact.dtype
  assert psnr_db(picture, exact, peak) > 40
  # The same Gaussians through jax.
  assert psnr_db(render_drawing(found), picture, peak) > 70
  for name in ("height", "width", "bit_depth", "has_alpha", "gamma"):
    assert getattr(found, name) == getattr(given, name), name
  for name in ("blend", "top_k", "edge"):
    assert getattr(found.raster, name) == getattr(given.raster, name), name
  np.testing.assert_allclose(found.raster.cutoff, given.raster.cutoff, 1e-3)
  np.testing.assert_allclose(found.raster.epsilon, given.raster.epsilon, 1e-3)


def test_a_file_again_is_the_same_file():
  data = encode_drawing(drawing())
  assert encode_drawing(decode_drawing(data)) == data


@pytest.mark.parametrize("name", ("sum_gray", "axis_rgba", "one"))
def test_decodes_golden_files(name):
  data = (GOLDEN / f"{name}.jgs").read_bytes()
  found = check_drawing(decode_drawing(data))
  assert psnr_db(render_drawing(found), jaxgs.decompress(data), 65535) > 80


@pytest.mark.parametrize("name", ("stack", "linear_rgb", "premultiplied_rgba"))
def test_maps_and_profiles(name):
  data = (GOLDEN / f"{name}.jgs").read_bytes()
  header, symbols = codec.decode(data)
  found = check_drawing(decode_drawing(data))
  assert (found.maps, found.icc) == (header.maps, header.icc)
  again, _ = codec.decode(encode_drawing(found))
  assert (again.maps, again.icc) == (header.maps, header.icc)
  wanted = draw_maps(header, symbols)
  drawn = render_maps(found)
  assert list(drawn) == list(wanted)
  for one in header.pictures:
    a, b = (to_shown(x[one.name], one) for x in (drawn, wanted))
    if one.alpha == "premultiplied":
      a, b = premultiply(a), premultiply(b)
    assert psnr_db(a, b, 1) > 70, one.name
  if name == "stack":
    with pytest.raises(ValueError, match="must be one picture, has 5"):
      render_drawing(found)


@pytest.mark.parametrize(
  ("change", "reason"),
  (
    ({"maps": (codec.Map(channels=3, is_normal=True),) * 2}, "3, 3. channels"),
    ({"maps": (codec.Map(channels=3),)}, "header says all"),
    ({"maps": (NORMAL,), "bit_depth": 16}, "bit_depth and .* are the maps'"),
    ({"icc": bytes(1 << 21)}, "profile of 2097152 bytes"),
    ({"height": 0}, "header height: got 0"),
    ({"bit_depth": 12}, "header bit_depth: got 12"),
    ({"gamma": 100.0}, "gamma must be 1/1024 to 64, got 100.0"),
    ({"gamma": float("nan")}, "gamma must be"),
    ({"width": 50.5}, "header width: got 50.5, want an int"),
    ({"channels": 1, "has_alpha": True}, "there is no other channel"),
  ),
)
def test_bad_settings(change, reason):
  with pytest.raises(ValueError, match=reason):
    check_drawing(drawing(**change))


@pytest.mark.parametrize(
  ("field", "value", "reason"),
  (
    ("mean", np.zeros((300, 3)), r"mean is float64\(300, 3\), expected floats"),
    ("angle", np.zeros((299,)), r"angle is float64\(299,\)"),
    (
      "feature",
      np.zeros(300),
      r"feature has shape \(300,\), expected \(N, C\)",
    ),
    ("angle", np.zeros(300, int), r"angle is int64"),
    ("mean", np.full((300, 2), np.nan), "mean has values that are not finite"),
    ("log_scale", np.full((300, 2), np.inf), "log_scale has values that are"),
    ("feature", np.zeros((300, 65)), "header channels: got 65"),
  ),
)
def test_bad_fields(field, value, reason):
  given = drawing()
  gaussians = given.gaussians._replace(**{field: value})
  with pytest.raises(ValueError, match=reason):
    check_drawing(given._replace(gaussians=gaussians))


# Centres outside.


def test_centres_move_inside():
  given = drawing()
  size = [50, 40]
  outside = ((given.gaussians.mean < 0) | (given.gaussians.mean > size)).any(1)
  moved = move_inside(given.gaussians, height=40, width=50, cutoff=12.5)
  assert outside.sum() > 40
  kept = len(moved.angle)
  assert 300 - outside.sum() < kept <= 300
  assert (moved.mean >= 0).all()
  assert (moved.mean <= size).all()
  assert {field.dtype for field in moved} == {np.dtype(np.float32)}
  exact = render_drawing(given)
  assert psnr_db(render_drawing(given._replace(gaussians=moved)), exact) > 42
  # What was inside is as it was.
  inside = Gaussians2D(*(field[~outside] for field in given.gaussians))
  same = move_inside(inside, height=40, width=50, cutoff=12.5)
  for a, b in zip(same, inside, strict=True):
    np.testing.assert_array_equal(a, b.astype(np.float32))


def test_nearest_point_is_that_of_the_largest_weight():
  """Not the nearest in pixels: the splat is a needle across the corner."""
  needle = Gaussians2D(
    np.array([[-6.0, 10.0]]),
    np.log([[8.0, 0.5]]),
    np.array([0.6]),
    np.array([0.0]),
    np.array([[1.0]]),
  )
  moved = move_inside(needle, height=40, width=50, cutoff=12.5)
  np.testing.assert_allclose(moved.mean, [[0, 10 + 6 * np.tan(0.6)]], atol=0.1)
  given = Drawing(needle, 40, 50, RasterSpec("sum", cutoff=12.5), bit_depth=16)
  exact = render_drawing(given)
  found = render_drawing(given._replace(gaussians=moved))
  assert exact.max() > 40000
  assert psnr_db(found, exact, 65535) > 45


def test_far_away_is_left_out():
  far = scattered(3)
  far.mean[:2] = [[1e9, 5], [-300, -300]]
  far.mean[2] = 20
  assert len(move_inside(far, height=40, width=50, cutoff=12.5).angle) == 1
  far.mean[2] = 1e4
  with pytest.raises(ValueError, match="none of the Gaussians reaches"):
    encode_drawing(drawing(gaussians=far))


def test_extremes_are_stored():
  rng = np.random.default_rng(1)
  n = 64
  gaussians = Gaussians2D(
    rng.uniform(-1e3, 1e3, (n, 2)) ** 3,
    rng.uniform(-40, 40, (n, 2)),
    rng.uniform(-1e3, 1e3, n),
    rng.uniform(-100, 100, n),
    rng.uniform(-1e5, 1e5, (n, 3)),
  )
  gaussians.mean[0] = 10
  data = encode_drawing(drawing(gaussians=gaussians))
  header, _ = codec.decode(data)
  assert 1 <= header.num_gaussians <= n
