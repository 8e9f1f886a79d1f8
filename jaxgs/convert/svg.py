"""`.jgs` files as vector graphics (SVG 1.1): an ellipse per Gaussian."""

import math

import numpy as np

from jaxgs import codec
from jaxgs.convert.drawing import Drawing, decode_drawing
from jaxgs.convert.paint import (
  Ink,
  back_to_front,
  colors_at,
  opacity_at,
  paint_colors,
)
from jaxgs.decompress import draw
from jaxgs.transfer import to_shown
from jaxgs.types import Gaussians2D

SVG_MODES = ("gradients", "ellipses")

# Less than that is not seen at 8 bits.
_OPACITY_MIN = 1 / 255
# Where a normalised blend is thin, what covers little shows all the same: with
# weights 8 times as large the likeness of an Image-GS fit is 23.3 dB and not
# 20.0, but that of a fit of ours 20.6 and not 24.5. The better one is taken.
_GAIN = math.log(8)
# Stops of a radial gradient, between which browsers interpolate.
_STOPS = 8
# Pixels of the picture that colours are fitted to, and for how many Gaussians
# at most: more are small, and the colours at their centres near (5000 of
# GaussianImage: 27.9 dB with them, 27.8 dB fitted).
_FIT_PX = 1 << 17
_FIT_GAUSSIANS = 20_000


def to_svg(data: bytes, *, mode: str = "gradients", sigmas: float = 2.0) -> str:
  """Turns a `.jgs` file into an SVG picture of its size.

  SVG has no sum and no mean of what covers a pixel, only one thing over the
  other, so that this is a likeness: ellipses are painted from the largest to
  the smallest, over the mean colour, in colours that bring that nearest to the
  picture. (A photograph with 475 Gaussians comes within 24 dB.)

  Args:
    data: The file, of grey or RGB, with alpha or not; linear light is shown
      under its curve.
    mode: "gradients": each ellipse fades like its Gaussian; "ellipses": flat.
    sigmas: Half axes of flat ellipses, in standard deviations, over 0. (2 is
      nearer to the picture than 1.5 or 2.5.)

  Returns:
    The text of the file.

  Raises:
    BitstreamError: The file is damaged, or would take absurdly long to draw.
    ValueError: An unknown mode, sigmas out of range, other channels, or a
      stack.
  """
  if mode not in SVG_MODES:
    raise ValueError(f"mode must be {' or '.join(SVG_MODES)}, got {mode!r}")
  if not 0 < sigmas < 100:
    raise ValueError(f"sigmas must be over 0 and under 100, got {sigmas}")
  drawing = decode_drawing(data)
  header, symbols = codec.decode(data)
  if header.is_stack:
    raise ValueError("an SVG is one picture, not a stack of maps")
  (one,) = header.pictures
  num_colors = one.num_colors
  if num_colors not in (1, 3):
    raise ValueError(f"an SVG is grey or RGB: {num_colors} channels are not")
  scale = min(1.0, math.sqrt(_FIT_PX / (drawing.height * drawing.width)))
  picture = to_shown(draw(header, symbols, scale=scale), one)
  picture, alpha = picture[..., :num_colors], picture[..., num_colors:]
  background = picture.mean((0, 1))
  if mode == "gradients":
    gains = (0.0, _GAIN) if drawing.raster.blend == "norm" else (0.0,)
    inks = [_fading_ink(drawing.gaussians, gain) for gain in gains]
  else:
    inks = [_flat_ink(drawing.gaussians, sigmas)]
  small = drawing.gaussians._replace(
    mean=drawing.gaussians.mean * np.float32(scale),
    log_scale=drawing.gaussians.log_scale + np.float32(math.log(scale)),
  )
  if len(small.angle) > _FIT_GAUSSIANS:
    colors, ink = colors_at(picture, small.mean), inks[0]
  else:
    tries = [
      (*paint_colors(picture, small, ink, background=background), ink)
      for ink in inks
    ]
    colors, _, ink = min(tries, key=lambda found: found[1])
  opacity = np.ones(len(colors))
  if one.has_alpha:
    opacity, background = colors_at(alpha, small.mean)[:, 0], None
  return _document(drawing, mode, ink, colors, opacity, background)


def _fading_ink(gaussians: Gaussians2D, gain: float) -> Ink:
  """Opacities that are the weights, as far as they are seen."""
  log_weight = gaussians.log_weight + gain
  return Ink(
    np.maximum(log_weight - math.log(_OPACITY_MIN), 0.0),
    log_weight,
  )


def _flat_ink(gaussians: Gaussians2D, sigmas: float) -> Ink:
  seen = gaussians.log_weight > math.log(_OPACITY_MIN)
  return Ink(
    np.where(seen, sigmas * sigmas / 2, 0.0), np.full(len(seen), np.inf)
  )


def _document(
  drawing: Drawing,
  mode: str,
  ink: Ink,
  colors: np.ndarray,
  opacity: np.ndarray,
  background: np.ndarray | None,
) -> str:
  height, width, gaussians = drawing.height, drawing.width, drawing.gaussians
  order = [n for n in back_to_front(gaussians) if ink.reach[n] > 0]
  fills, defs = [_hex(color) for color in colors], []
  if mode == "gradients":
    defs = [
      _gradient(n, fills[n], ink.reach[n], ink.log_weight[n]) for n in order
    ]
    fills = [f"url(#g{n})" for n in range(len(fills))]
  shapes = [
    _ellipse(gaussians, n, ink.reach[n], fills[n], opacity[n]) for n in order
  ]
  if background is not None:
    shapes.insert(0, _rectangle(height, width, f' fill="{_hex(background)}"'))
  size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
  lines = [
    f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
    "<defs>",
    # Ellipses reach beyond the picture.
    f'<clipPath id="picture">{_rectangle(height, width)}</clipPath>',
    *defs,
    "</defs>",
    '<g clip-path="url(#picture)">',
    *shapes,
    "</g>",
    "</svg>",
  ]
  return "\n".join(lines) + "\n"


def _hex(color: np.ndarray) -> str:
  levels = np.rint(np.asarray(color) * 255).astype(int)
  return "#" + "".join(f"{level:02x}" for level in np.resize(levels, 3))


def _rectangle(height: int, width: int, fill: str = "") -> str:
  return f'<rect width="{width}" height="{height}"{fill}/>'


def _gradient(index: int, color: str, reach: float, log_weight: float) -> str:
  """From the centre of a circle to its edge, where e = reach."""
  offset = np.linspace(0, 1, _STOPS)
  opacity = opacity_at(offset * offset * reach, log_weight)
  opacity[-1] = 0.0
  stops = "".join(
    f'<stop offset="{t:.3g}" stop-color="{color}" stop-opacity="{a:.3g}"/>'
    for t, a in zip(offset, opacity, strict=True)
  )
  return f'<radialGradient id="g{index}">{stops}</radialGradient>'


def _ellipse(
  gaussians: Gaussians2D, n: int, reach: float, fill: str, opacity: float
) -> str:
  """A unit circle, placed: columns of the matrix are the half axes."""
  first, second = np.exp(gaussians.log_scale[n]) * math.sqrt(2 * reach)
  cos, sin = math.cos(gaussians.angle[n]), math.sin(gaussians.angle[n])
  axes = (first * cos, first * sin, -second * sin, second * cos)
  matrix = " ".join(f"{v:.6g}" for v in (*axes, *gaussians.mean[n]))
  alpha = f' fill-opacity="{opacity:.3g}"' if opacity < 1 else ""
  return f'<circle r="1" transform="matrix({matrix})" fill="{fill}"{alpha}/>'
