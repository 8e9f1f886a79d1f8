import pathlib
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import jaxgs
from jaxgs.config import RasterSpec
from jaxgs.convert import (
  Drawing,
  decode_drawing,
  encode_drawing,
  svg,
  to_svg,
)
from jaxgs.convert.paint import Ink, back_to_front, colors_at, paint_colors
from jaxgs.types import Gaussians2D
from tests.convert.drawing_test import scattered

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "v1"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def data():
  drawing = Drawing(scattered(200), 40, 50, RasterSpec(cutoff=8.0))
  return encode_drawing(drawing)


def matrix_of(shape):
  """The (2, 2) of half axes and the centre of a unit circle."""
  inside = re.fullmatch(r"matrix\((.*)\)", shape.get("transform")).group(1)
  a, b, c, d, x, y = map(float, inside.split())
  assert shape.get("r") == "1"
  return np.array([[a, c], [b, d]]), np.array([x, y])


def circles_of(text):
  return list(ET.fromstring(text).iter(f"{SVG}circle"))


def covariance(gaussians, n):
  angle = float(gaussians.angle[n])
  turn = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  return turn @ np.diag(np.exp(2.0 * gaussians.log_scale[n])) @ turn.T


@pytest.mark.parametrize("mode", ("gradients", "ellipses"))
def test_document(data, mode):
  root = ET.fromstring(to_svg(data, mode=mode))
  assert root.tag == f"{SVG}svg"
  assert root.get("viewBox") == "0 0 50 40"
  assert (root.get("width"), root.get("height")) == ("50", "40")
  clip = root.find(f"{SVG}defs/{SVG}clipPath")
  (rectangle,) = clip
  assert (rectangle.get("width"), rectangle.get("height")) == ("50", "40")
  group = root.find(f"{SVG}g")
  assert group.get("clip-path") == f"url(#{clip.get('id')})"
  assert group[0].tag == f"{SVG}rect"  # The background.
  assert {shape.tag for shape in group[1:]} == {f"{SVG}circle"}
  ids = [node.get("id") for node in root.iter() if node.get("id")]
  assert len(ids) == len(set(ids))
  fills = [shape.get("fill") for shape in group[1:]]
  if mode == "gradients":
    assert {fill[5:-1] for fill in fills} <= set(ids)
  else:
    assert all(re.fullmatch("#[0-9a-f]{6}", fill) for fill in fills)


def test_flat_ellipses_lie_at_their_sigmas(data):
  gaussians = decode_drawing(data).gaussians
  circles = circles_of(to_svg(data, mode="ellipses", sigmas=1.5))
  order = back_to_front(gaussians)
  assert len(circles) == len(order) == len(gaussians.angle)
  areas = []
  for n, circle in zip(order, circles, strict=True):
    axes, centre = matrix_of(circle)
    np.testing.assert_allclose(centre, gaussians.mean[n], atol=1e-3)
    wanted = 1.5**2 * covariance(gaussians, n)
    np.testing.assert_allclose(axes @ axes.T, wanted, rtol=1e-3, atol=1e-3)
    areas.append(np.linalg.det(axes))
  assert np.all(np.diff(areas) < 1e-3 * areas[0])  # The largest at the back.


def test_gradients_fall_as_the_gaussians_do():
  one = Gaussians2D(
    np.array([[20.0, 15.0]]),
    np.log([[6.0, 3.0]]),
    np.array([0.5]),
    np.log([0.75]),
    np.array([[0.9, 0.3, 0.1]]),
  )
  data = encode_drawing(Drawing(one, 40, 50, RasterSpec("sum", cutoff=9.0)))
  text = to_svg(data)
  gaussians = decode_drawing(data).gaussians
  (circle,) = circles_of(text)
  axes, _ = matrix_of(circle)
  ratio = axes @ axes.T / covariance(gaussians, 0)
  np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
  (gradient,) = ET.fromstring(text).iter(f"{SVG}radialGradient")
  assert circle.get("fill") == f"url(#{gradient.get('id')})"
  weight = np.exp(gaussians.log_weight[0])
  for stop in gradient[:-1]:
    # Of the Gaussian at that share of the half axes.
    e = float(stop.get("offset")) ** 2 * ratio[0, 0] / 2
    opacity = float(stop.get("stop-opacity"))
    np.testing.assert_allclose(opacity, weight * np.exp(-e), atol=4e-3)
  assert gradient[-1].get("offset") == "1"
  assert gradient[-1].get("stop-opacity") == "0"


def test_alpha_and_grey():
  text = to_svg((GOLDEN / "axis_rgba.jgs").read_bytes())
  assert "<rect" in text
  group = ET.fromstring(text).find(f"{SVG}g")
  assert group[0].tag == f"{SVG}circle"  # Nothing behind it.
  assert any(circle.get("fill-opacity") for circle in group)
  text = to_svg((GOLDEN / "sum_gray.jgs").read_bytes(), mode="ellipses")
  fills = [circle.get("fill") for circle in circles_of(text)]
  assert fills
  assert all(fill[1:3] == fill[3:5] == fill[5:] for fill in fills)


@pytest.mark.parametrize("name", ("premultiplied_rgba", "linear_rgb"))
def test_maps(name):
  text = to_svg((GOLDEN / f"{name}.jgs").read_bytes())
  group = ET.fromstring(text).find(f"{SVG}g")
  is_seen_through = group[0].tag == f"{SVG}circle"
  assert is_seen_through == (name == "premultiplied_rgba")
  assert sum(shape.tag == f"{SVG}circle" for shape in group) > 100


def test_a_stack_is_no_svg():
  with pytest.raises(ValueError, match="one picture, not a stack"):
    to_svg((GOLDEN / "stack.jgs").read_bytes())


def test_many_gaussians_take_the_colours_at_their_centres(data, monkeypatch):
  monkeypatch.setattr(svg, "_FIT_GAUSSIANS", 50)
  gaussians = decode_drawing(data).gaussians
  picture = jaxgs.decompress(data)
  circles = circles_of(to_svg(data, mode="ellipses"))
  for n, circle in zip(back_to_front(gaussians), circles, strict=True):
    x, y = gaussians.mean[n].clip(0, [49, 39]).astype(int)
    assert circle.get("fill") == "#{:02x}{:02x}{:02x}".format(*picture[y, x])


def test_what_it_refuses(data):
  six = (GOLDEN / "six_channels.jgs").read_bytes()
  with pytest.raises(ValueError, match="6 channels are not"):
    to_svg(six)
  with pytest.raises(ValueError, match="mode must be gradients or ellipses"):
    to_svg(data, mode="dots")
  for sigmas in (0, -1, float("nan"), 100):
    with pytest.raises(ValueError, match="sigmas must be over 0"):
      to_svg(data, sigmas=sigmas)
  with pytest.raises(jaxgs.BitstreamError):
    to_svg(data[:-3])


def paint(colors, gaussians, ink, background, height, width):
  """Ellipse over ellipse at every pixel, by the definition."""
  picture = np.empty((height, width, 3))
  picture[:] = background
  y, x = np.mgrid[:height, :width] + 0.5
  for n in back_to_front(gaussians):
    precision = np.linalg.inv(covariance(gaussians, n))
    d = np.stack([x - gaussians.mean[n, 0], y - gaussians.mean[n, 1]], -1)
    e = 0.5 * np.einsum("hwi,ij,hwj->hw", d, precision, d)
    opacity = np.minimum(1, np.exp(ink.log_weight[n] - e)) * (e < ink.reach[n])
    picture += opacity[..., None] * (colors[n] - picture)
  return picture


def test_colours_of_what_was_painted_are_found():
  gaussians = Gaussians2D(
    *(field.astype(np.float32) for field in scattered(40))
  )
  reach = np.full(40, 4.0)
  reach[5] = 0.0
  ink = Ink(reach, gaussians.log_weight)
  background = np.float32([0.2, 0.4, 0.6])
  wanted = paint(gaussians.feature, gaussians, ink, background, 40, 50)
  picture = wanted.astype(np.float32)

  def error(colors):
    painted = paint(colors, gaussians, ink, background, 40, 50)
    return np.mean((painted - wanted) ** 2)

  colors, before = paint_colors(picture, gaussians, ink, background=background)
  at_centres = error(colors_at(picture, gaussians.mean))
  assert error(colors) < before < at_centres
  assert error(colors) < 0.3 * at_centres
  # From the right colours there is nothing to change.
  flat = np.broadcast_to(background, picture.shape)
  colors, before = paint_colors(flat, gaussians, ink, background=background)
  np.testing.assert_allclose(colors, flat[0, :40], atol=1e-5)
  assert before < 1e-10
