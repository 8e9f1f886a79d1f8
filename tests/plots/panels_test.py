import numpy as np
import pytest

from jaxgs import codec, plots
from jaxgs.plots import panels
from jaxgs.types import Gaussians2D

WINDOW = (0, 0, 40, 30)


def _gaussians(*rows):
  """Of rows (x, y, s1, s2, angle)."""
  rows = np.asarray(rows, np.float32)
  count = len(rows)
  return Gaussians2D(
    mean=rows[:, :2],
    log_scale=np.log(rows[:, 2:4]),
    angle=rows[:, 4],
    log_weight=np.zeros(count, np.float32),
    feature=np.zeros((count, 3), np.float32),
  )


def _draw(panel, scale=8, window=WINDOW):
  figure = plots.make_figure(
    [[panel]], window, width_px=window[2] * scale, bare=True
  )
  return plots.figure_pixels(figure).astype(np.float64) / 255


def _moments(mass, scale):
  """Mean and covariance of a picture, in pixels of the image."""
  height, width = mass.shape
  y, x = np.mgrid[:height, :width] + 0.5
  total = mass.sum()
  points = np.stack([x, y], -1) / scale
  mean = (mass[..., None] * points).sum((0, 1)) / total
  away = points - mean
  outer = away[..., :, None] * away[..., None, :]
  return mean, (mass[..., None, None] * outer).sum((0, 1)) / total


@pytest.mark.parametrize("sigmas", (1.0, 2.0))
@pytest.mark.parametrize("angle", (0.0, 0.6, 2.3))
def test_an_ellipse_has_the_moments_of_its_splat(angle, sigmas):
  splat = _gaussians((17.3, 12.8, 4.0, 1.5, angle))
  panel = plots.ellipses_panel(
    "", splat, np.zeros((1, 3)), sigmas=sigmas, background="white"
  )
  for scale in (4, 16):
    mass = 1 - _draw(panel, scale)[..., 0]
    mean, covariance = _moments(mass, scale)
    np.testing.assert_allclose(mean, (17.3, 12.8), atol=0.02)
    # A full ellipse of half axes a has variances a^2 / 4. R and y down as in
    # the definition of the picture.
    turn = np.array(
      [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    wanted = turn @ np.diag([4.0, 1.5]) ** 2 @ turn.T * sigmas**2 / 4
    np.testing.assert_allclose(covariance, wanted, atol=0.03 * wanted.max())
    area = mass.sum() / scale**2
    np.testing.assert_allclose(area, np.pi * 6 * sigmas**2, rtol=0.01)


def test_small_ones_lie_over_large_ones():
  splats = _gaussians((20, 15, 1, 1, 0), (20, 15, 5, 5, 0), (20, 15, 3, 3, 0))
  colors = np.eye(3, dtype=np.float32)
  drawn = _draw(plots.ellipses_panel("", splats, colors, background="black"))
  for x, color in ((20, colors[0]), (22, colors[2]), (24, colors[1])):
    np.testing.assert_allclose(drawn[15 * 8, x * 8], color, atol=0.01)
  np.testing.assert_array_equal(drawn[15 * 8, 27 * 8], 0)


def test_opacity_and_outline():
  splat, red = _gaussians((20, 15, 5, 3, 0)), np.array([[1.0, 0, 0]])
  half = _draw(
    plots.ellipses_panel("", splat, red, alpha=0.5, background="white")
  )
  np.testing.assert_allclose(half[120, 160], (1, 0.5, 0.5), atol=0.01)
  line = _draw(
    plots.ellipses_panel("", splat, red, outline=True, background="black")
  )
  assert line[120, 160].max() == 0
  assert line[120, 192:208, 0].sum() > 1  # x = 25 px.


def test_the_background_can_be_a_picture():
  rgb = np.random.default_rng(0).random((30, 40, 3)).astype(np.float32)
  nothing = _gaussians((-50, 0, 1, 1, 0))
  panel = plots.ellipses_panel("", nothing, np.zeros((1, 3)), background=rgb)
  np.testing.assert_allclose(_draw(panel, 1), rgb, atol=0.01)
  # A finer picture of a part, where it belongs.
  fine = rgb.repeat(2, axis=0).repeat(2, axis=1)[20:40, 16:48]
  panel = plots.picture_panel("", fine, covers=(8, 10, 16, 10))
  drawn = _draw(panel, 2, (8, 10, 16, 10))
  np.testing.assert_allclose(drawn, fine, atol=0.01)


def test_centres_are_where_the_splats_are():
  splats = _gaussians((10.5, 20.5, 3, 1, 0), (30.5, 5.5, 1, 1, 0))
  white = np.ones((30, 40, 3), np.float32)
  drawn = _draw(plots.centers_panel("", splats, white))
  mass = 1 - drawn[..., 2]
  for x, y in splats.mean:
    left, top = int(x) * 8 - 24, int(y) * 8 - 24
    part = mass[top : top + 56, left : left + 56]
    mean, _ = _moments(part, 8)
    mean += np.array([left, top]) / 8
    np.testing.assert_allclose(mean, (x, y), atol=0.1)
    mass[top : top + 56, left : left + 56] = 0
  assert mass.max() == 0


def test_ids_are_those_of_the_window():
  splats = _gaussians(*((x, 10, 1, 1, 0) for x in range(1, 39)))
  white = np.ones((30, 40, 3), np.float32)
  panel = plots.ids_panel("", splats, white, window=(9.5, 0, 3, 20))
  figure = plots.make_figure([[panel]], (9.5, 0, 3, 20), width_px=60)
  texts = {text.get_text() for text in figure.axes[0].texts}
  assert texts == {"9", "10", "11"}
  many = _gaussians(*[(5, 5, 1, 1, 0)] * (plots.MAX_IDS + 1))
  with pytest.raises(plots.PlotError, match=r"501 splats.*--crop"):
    plots.ids_panel("", many, white, window=WINDOW)


def _shown(panel):
  """The figure of a panel, the image in it, and the axes of its bar."""
  figure = plots.make_figure([[panel]], WINDOW, width_px=200)
  plots.figure_pixels(figure)
  axes, bar = figure.axes
  return axes.images[0], bar


def test_errors():
  reference = np.full((30, 40, 3), 0.5, np.float32)
  image = reference.copy()
  image[10:20] += np.float32([0.1, 0.2, 0.0])
  image[20:] -= 0.1
  shown, bar = _shown(plots.error_panel("", reference, image))
  values = shown.get_array()
  np.testing.assert_allclose(values[5], 0)
  np.testing.assert_allclose(values[15], 25.5, rtol=1e-4)
  np.testing.assert_allclose(values[25], 25.5, rtol=1e-4)
  assert bar.get_xlabel() == "mean absolute error, levels of 255"
  shown, bar = _shown(plots.error_panel("", reference, image, signed=True))
  values = shown.get_array()
  np.testing.assert_allclose(values[15], 25.5, rtol=1e-4)
  np.testing.assert_allclose(values[25], -25.5, rtol=1e-4)
  # No error is white.
  low, high = shown.get_clim()
  np.testing.assert_allclose(low, -high)
  with pytest.raises(ValueError, match="one shape"):
    plots.error_panel("", reference, image[1:])


def test_a_map_of_nothing_has_a_bar():
  shown, _ = _shown(plots.map_panel("", np.zeros((30, 40)), label="nothing"))
  assert shown.get_clim()[1] > 0


@pytest.mark.parametrize(
  ("pixel", "has_alpha", "wanted"),
  (
    ((0.2, 0.4, 0.6), False, (0.2, 0.4, 0.6)),
    ((-1.0, 0.4, 7.0), False, (0.0, 0.4, 1.0)),
    ((0.3,), False, (0.3, 0.3, 0.3)),
    ((0.4, 0.5), True, (0.7, 0.7, 0.7)),
    ((0.0, 1.0, 0.5, 0.5), True, (0.5, 1.0, 0.75)),
    ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), False, (0.1, 0.2, 0.3)),
    ((np.nan, 0.2, 0.3), False, (0.0, 0.2, 0.3)),
  ),
)
def test_colours_for_a_screen(pixel, has_alpha, wanted):
  pixels = np.array([pixel], np.float32)
  found = plots.to_rgb(pixels, has_alpha=has_alpha)
  np.testing.assert_allclose(found[0], wanted, atol=1e-6)


@pytest.mark.parametrize(
  ("blend", "gamma", "alpha", "wanted"),
  (
    ("norm", 1.0, "none", (0.04, 0.16, 0.09)),
    ("sum", 1.0, "none", (0.08, 0.32, 0.18)),
    ("norm", 2.0, "none", (0.2, 0.4, 0.3)),
    # On white: straight, c a + 1 - a; premultiplied, c + 1 - a.
    ("norm", 2.0, "straight", (0.6, 0.7, 0.65)),
    ("norm", 2.0, "premultiplied", (0.7, 0.9, 0.8)),
  ),
)
def test_colours_of_splats(blend, gamma, alpha, wanted):
  # The channels of another map behind are not looked at.
  splats = _gaussians((1, 1, 1, 1, 0))._replace(
    feature=np.float32([[0.04, 0.16, 0.09, 0.25, 0.9]]),
    log_weight=np.log([2.0]),
  )
  one = codec.Map(channels=3 if alpha == "none" else 4, alpha=alpha)
  found = plots.splat_colors(splats, blend, gamma, one)[0]
  np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_without_colour():
  rgb = np.array([[[1, 1, 1], [1, 0, 0], [0.2, 0.4, 0.1]]], np.float32)
  found = panels.without_color(rgb)
  np.testing.assert_allclose(found[..., 0], [[1, 0.299, 0.306]], atol=1e-6)
  assert np.ptp(found, axis=-1).max() == 0
