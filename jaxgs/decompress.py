"""Bytes to pixels: what a `.jgs` file shows, at any size, within limits.

On a CPU the native library draws, and jax is not imported; another backend, or
a machine without the library, takes the way through jax.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from jaxgs import codec
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.codec.maps import is_plain
from jaxgs.config import RasterSpec
from jaxgs.painters import Window, on_device, painter_of
from jaxgs.transfer import dtype_of, from_coded
from jaxgs.types import Gaussians2D

# Pixels of one band of rows when decoding: bounds the memory at any size.
_BAND_PX = 1 << 22

# Values that become integers at a time: they stay in a core's cache.
_BLOCK = 1 << 16

# A decoder draws at most this many pixels and tile-splat pairs unless told
# otherwise: 8192 x 8192 px, and three times what a fit of 500 000 splats has
# there (about a minute on two cores through the xla backend). A crafted file
# of a few kB could ask for hours. Who allows more pixels allows more pairs.
MAX_PIXELS = 1 << 26
MAX_PAIRS = 1 << 24


def spec_of(header: codec.Header, backend: str = "auto") -> RasterSpec:
  """How a decoder draws a file.

  Args:
    header: Of the file.
    backend: See RasterSpec.

  Returns:
    A RasterSpec.

  Raises:
    BitstreamError: The file asks for what no RasterSpec allows.
  """
  try:
    return RasterSpec(
      blend=header.blend,
      top_k=header.top_k,
      cutoff=header.cutoff / 256,
      edge=header.edge,
      epsilon=header.epsilon / 2**24,
      # MAX_PAIRS counts tiles of this size, whatever the backend likes best.
      tile=16,
      backend=backend,
    )
  except ValueError as error:
    raise codec.BitstreamError(f"section header: {error}") from error


def decode_gaussians(data: bytes) -> tuple[Gaussians2D, codec.Header]:
  """Reads a file into Gaussians.

  Args:
    data: A `.jgs` file.

  Returns:
    Gaussians2D of jax arrays in pixels of the stored image, and the header.

  Raises:
    BitstreamError: The file is damaged or not a `.jgs` file.
  """
  header, symbols = codec.decode(data)
  return on_device(header, symbols), header


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
    backend: See RasterSpec. "auto" is the native library on any machine that
      has it, unless a context or JAXGS_BACKEND says otherwise.
    max_pixels: Larger outputs are refused; over four channels, the fewer.

  Returns:
    (H, W, C) uint8 or uint16, or float32 >= 0 in linear light of a picture of
    high dynamic range.

  Raises:
    BitstreamError: The file is damaged, or would take absurdly long to draw.
    ValueError: The scale or window is out of range, or the file is a stack.
  """
  header, symbols = codec.decode(data)
  return draw(
    header,
    symbols,
    scale=scale,
    crop=crop,
    backend=backend,
    max_pixels=max_pixels,
  )


def decompress_stack(
  data: bytes,
  *,
  names: Collection[str] | None = None,
  scale: float = 1.0,
  crop: tuple[int, int, int, int] | None = None,
  backend: str = "auto",
  max_pixels: int = MAX_PIXELS,
) -> dict[str, np.ndarray]:
  """Turns a `.jgs` file of maps into their pixels.

  Args:
    data: The file.
    names: Only these maps; all when None.
    scale: See `decompress`.
    crop: See `decompress`.
    backend: See `decompress`.
    max_pixels: See `decompress`.

  Returns:
    By name, in the order of the file: (H, W, C) uint8, uint16 or float32.

  Raises:
    BitstreamError: The file is damaged, or would take absurdly long to draw.
    ValueError: The scale or window is out of range, there is no such map, or
      the file is one picture.
  """
  header, symbols = codec.decode(data)
  if not header.is_stack:
    raise ValueError("data must be a stack, got one picture: see decompress")
  return draw_maps(
    header,
    symbols,
    names=names,
    scale=scale,
    crop=crop,
    backend=backend,
    max_pixels=max_pixels,
  )


def draw(
  header: codec.Header,
  symbols: codec.Symbols,
  *,
  scale: float = 1.0,
  crop: tuple[int, int, int, int] | None = None,
  backend: str = "auto",
  max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
  """`decompress` of a file that is decoded already; its other arguments.

  Args:
    header: From `codec.decode`.
    symbols: From `codec.decode`.
    scale: See `decompress`.
    crop: See `decompress`.
    backend: See `decompress`.
    max_pixels: See `decompress`.

  Returns:
    See `decompress`.

  Raises:
    BitstreamError: The file would take absurdly long to draw.
    ValueError: The scale or window is out of range, or the file is a stack.
  """
  if header.is_stack:
    raise ValueError(
      f"data must be one picture, got a stack of {len(header.maps)} maps: that"
      " is for decompress_stack"
    )
  (picture,) = draw_maps(
    header,
    symbols,
    scale=scale,
    crop=crop,
    backend=backend,
    max_pixels=max_pixels,
  ).values()
  return picture


def draw_maps(
  header: codec.Header,
  symbols: codec.Symbols,
  *,
  names: Collection[str] | None = None,
  scale: float = 1.0,
  crop: tuple[int, int, int, int] | None = None,
  backend: str = "auto",
  max_pixels: int = MAX_PIXELS,
) -> dict[str, np.ndarray]:
  """The maps of a file, by name; the empty name for one that is no stack.

  Args:
    header: From `codec.decode`.
    symbols: From `codec.decode`.
    names: Only these, which costs less; all when None.
    scale: See `decompress`.
    crop: See `decompress`.
    backend: See `decompress`.
    max_pixels: See `decompress`.

  Returns:
    Arrays as from `decompress`, in the order of the file.

  Raises:
    BitstreamError: The file would take absurdly long to draw.
    ValueError: The scale or window is out of range, or there is no such map.
  """
  maps, channels = _choose(header, names)
  scale = float(scale)
  window = _window(header, len(channels), scale, crop, max_pixels)
  spec = spec_of(header, backend)
  count_pairs, paint = painter_of(header, symbols, spec, channels)
  pairs = count_pairs(window)
  height, width = window.height, window.width
  most = MAX_PAIRS * max(height * width, MAX_PIXELS) // MAX_PIXELS
  if pairs > most:
    raise codec.BitstreamError(
      f"the splats touch {pairs:.3g} tiles in all, over the limit of {most}:"
      " not drawn"
    )
  pictures = {
    one.name: np.empty((height, width, one.channels), dtype_of(one))
    for one in maps
  }
  rows = max(4 * _BAND_PX // (width * max(len(channels), 4)), 1)
  for top in range(0, height, rows):
    band = window.rows(top, min(rows, height - top))
    finish_rows(paint(band), header.gamma, maps, pictures, top)
  return pictures


def own_pixels(header: codec.Header) -> int:
  """The `max_pixels` that a file needs to be drawn as large as it is stored."""
  return -(-header.height * header.width * max(header.channels, 4) // 4)


def _choose(
  header: codec.Header, names: Collection[str] | None
) -> tuple[list[codec.Map], list[int]]:
  """The maps of these names, and their channels in the file."""
  known = [one.name for one in header.pictures]
  for name in names or ():
    if name not in known:
      raise ValueError(f"names: there is no map {name!r}, only {known}")
  maps, channels, first = [], [], 0
  for one in header.pictures:
    if names is None or one.name in names:
      maps.append(one)
      channels += range(first, first + one.channels)
    first += one.channels
  return maps, channels


def finish_rows(
  image: np.ndarray,
  gamma: int,
  maps: Sequence[codec.Map],
  pictures: dict[str, np.ndarray],
  top: int,
) -> None:
  """Writes rows of a picture of all channels into those of the maps.

  Args:
    image: (h, W, C) float32, as drawn.
    gamma: See codec.Header.
    maps: What the channels are.
    pictures: By the names of the maps, (H, W, c) in the types of `dtype_of`.
    top: Which of their H rows is the first.
  """
  first, bottom = 0, top + image.shape[0]
  for one in maps:
    drawn = image[..., first : first + one.channels]
    out = pictures[one.name][top:bottom]
    if is_plain((dataclasses.replace(one, name=""),)):
      _to_levels(np.ascontiguousarray(drawn), gamma, out)
    else:
      if gamma != GAMMA_ONE:
        drawn = np.fmax(drawn, np.float32(0)) ** np.float32(GAMMA_ONE / gamma)
      out[...] = from_coded(drawn, one)
    first += one.channels


def _window(
  header: codec.Header,
  channels: int,
  scale: float,
  crop: tuple[int, int, int, int] | None,
  max_pixels: int,
) -> Window:
  """What is to be drawn, once it is known to be within bounds."""
  height, width = output_size(header, scale)
  x, y, w, h = crop or (0, 0, width, height)
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise ValueError(
      f"crop must lie within the picture of {width}x{height} px, got"
      f" x={x}, y={y}, width={w}, height={h}"
    )
  # More than four channels count as more pixels.
  if w * h * max(channels, 4) > 4 * max_pixels:
    raise ValueError(
      f"{w}x{h} px of {channels} channels are over the limit of {max_pixels} px"
    )
  return Window(x, y, w, h, scale)


def _to_levels(image: np.ndarray, gamma: int, out: np.ndarray) -> None:
  """Rounds a picture to the levels of integers."""
  peak = np.float32(np.iinfo(out.dtype).max)
  exponent = np.float32(GAMMA_ONE / gamma)
  source, target = image.reshape(-1), out.reshape(-1)
  for begin in range(0, source.size, _BLOCK):
    # Not clip: weights that overflow give NaN, which has no level.
    block = np.fmax(source[begin : begin + _BLOCK], np.float32(0))
    np.fmin(block, np.float32(1), out=block)
    if gamma != GAMMA_ONE:
      np.power(block, exponent, out=block)
    block *= peak
    # By way of int32: compilers vectorise that, and not float to uint8.
    target[begin : begin + _BLOCK] = np.rint(block, out=block).astype(np.int32)


def output_size(header: codec.Header, scale: float) -> tuple[int, int]:
  """Height and width of the picture drawn at a scale.

  Args:
    header: Of the file.
    scale: Output pixels per stored pixel.

  Returns:
    Pixels, at least 1.

  Raises:
    ValueError: The scale is not positive or not finite.
  """
  if not 0 < scale < 1e6:
    raise ValueError(f"scale must be positive and finite, got {scale}")
  sides = (header.height, header.width)
  return tuple(max(1, round(side * scale)) for side in sides)
