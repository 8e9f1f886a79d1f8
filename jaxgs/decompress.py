"""Bytes to pixels: what a `.jgs` file shows, at any size, within limits."""

import jax
import numpy as np

from jaxgs import codec
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.config import RasterSpec
from jaxgs.quantize import device_lattice, from_symbols
from jaxgs.rasterize import pairs_of, render
from jaxgs.types import Gaussians2D

# Pixels of one band of rows when decoding: bounds the memory at any size.
_BAND_PX = 1 << 22

# A decoder draws at most this many pixels and tile-splat pairs unless told
# otherwise: 8192 x 8192 px, and three times what a fit of 500 000 splats has
# there (about a minute on two cores through the xla backend). A crafted file
# of a few kB could ask for hours.
MAX_PIXELS = 1 << 26
MAX_PAIRS = 1 << 24

_from_symbols = jax.jit(from_symbols, static_argnames=("transform",))


def spec_of(header: codec.Header, backend: str = "auto") -> RasterSpec:
  """How a decoder draws a file."""
  return RasterSpec(
    blend=header.blend,
    top_k=header.top_k,
    cutoff=header.cutoff / 256,
    edge=header.edge,
    epsilon=header.epsilon / 2**24,
    backend=backend,
  )


def decode_gaussians(data: bytes) -> tuple[Gaussians2D, codec.Header]:
  """Reads a file into Gaussians.

  Args:
    data: A `.jgs` file.

  Returns:
    Gaussians2D in pixels of the stored image, and the header.

  Raises:
    BitstreamError: The file is damaged or not a `.jgs` file.
  """
  header, symbols = codec.decode(data)
  gaussians = _from_symbols(
    symbols, device_lattice(header.lattice), transform=header.color_transform
  )
  return gaussians, header


def decompress(
  data: bytes,
  *,
  scale: float = 1.0,
  crop: tuple[int, int, int, int] | None = None,
  backend: str = "auto",
  max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
  """Turns a `.jgs` file into pixels.

  Args:
    data: The file.
    scale: Output pixels per stored pixel, > 0; sizes are rounded.
    crop: (x, y, width, height) in output pixels; only that window is drawn.
    backend: See RasterSpec.
    max_pixels: Larger outputs are refused; over four channels, the fewer.

  Returns:
    (H, W, C) uint8 or uint16.

  Raises:
    BitstreamError: The file is damaged, or would take absurdly long to draw.
    ValueError: The scale or window is out of range.
  """
  gaussians, header = decode_gaussians(data)
  height, width = output_size(header, scale)
  x, y, w, h = crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise ValueError(
      f"crop must lie within the picture of {width}x{height} px, got"
      f" x={x}, y={y}, width={w}, height={h}"
    )
  # More than four channels count as more pixels.
  if w * h * max(header.channels, 4) > 4 * max_pixels:
    raise ValueError(
      f"{w}x{h} px of {header.channels} channels are over the limit of"
      f" {max_pixels} px"
    )
  spec = spec_of(header, backend)
  window = {"scale": scale, "width": w}
  pairs = pairs_of(gaussians, height=h, offset=(x, y), spec=spec, **window)
  if pairs > MAX_PAIRS:
    raise codec.BitstreamError(
      f"the splats touch {pairs:.3g} tiles in all, over the limit of"
      f" {MAX_PAIRS}: not drawn"
    )
  peak = 2**header.bit_depth - 1
  dtype = np.uint8 if header.bit_depth == 8 else np.uint16
  out = np.empty((h, w, header.channels), dtype)
  gamma = header.gamma / GAMMA_ONE
  rows = max(4 * _BAND_PX // (w * max(header.channels, 4)), 1)
  for top in range(0, h, rows):
    band = min(rows, h - top)
    image = render(
      gaussians, height=band, offset=(x, y + top), spec=spec, **window
    ).image
    image = np.clip(np.asarray(image), 0.0, 1.0)
    if gamma != 1.0:
      image = image ** (1.0 / gamma)
    out[top : top + band] = np.rint(image * peak)
  return out


def output_size(header: codec.Header, scale: float) -> tuple[int, int]:
  """Height and width of the picture drawn at a scale.

  Raises:
    ValueError: The scale is not positive or not finite.
  """
  if not 0 < scale < 1e6:
    raise ValueError(f"scale must be positive and finite, got {scale}")
  sides = (header.height, header.width)
  return tuple(max(1, round(side * scale)) for side in sides)
