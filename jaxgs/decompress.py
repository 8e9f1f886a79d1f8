"""Bytes to pixels: what a `.jgs` file shows, at any size, within limits.

On a CPU the native library draws, and jax is not imported; another backend, or
a machine without the library, takes the way through jax.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from jaxgs import codec, native
from jaxgs.codec.header import GAMMA_ONE
from jaxgs.codec.maps import is_plain
from jaxgs.config import RasterSpec
from jaxgs.dequantize import from_symbols, host_lattice
from jaxgs.project import place
from jaxgs.transfer import dtype_of, from_coded
from jaxgs.types import Gaussians2D, Splats

# Pixels of one band of rows when decoding: bounds the memory at any size.
_BAND_PX = 1 << 22

# Values that become integers at a time: they stay in a core's cache.
_BLOCK = 1 << 16

# A decoder draws at most this many pixels and tile-splat pairs unless told
# otherwise: 8192 x 8192 px, and three times what a fit of 500 000 splats has
# there (about a minute on two cores through the xla backend). A crafted file
# of a few kB could ask for hours.
MAX_PIXELS = 1 << 26
MAX_PAIRS = 1 << 24


class _Window(NamedTuple):
  """What is drawn of the scaled picture: its corner and size, output px."""

  x: int
  y: int
  width: int
  height: int
  scale: float

  def rows(self, top: int, count: int) -> _Window:
    """Some rows of the window."""
    return self._replace(y=self.y + top, height=count)


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


def uses_native(backend: str = "auto") -> bool:
  """Whether `decompress` draws with the native library, without jax.

  Args:
    backend: See RasterSpec. "auto" asks `use_backend` and JAXGS_BACKEND.

  Returns:
    True for the backend "cpu", or if none is asked for, where the library is.
  """
  if backend == "auto":
    # The module needs jax. Where nobody has imported it, there is no context.
    if module := sys.modules.get("jaxgs.backends"):
      backend = module.requested_backend()
    else:
      backend = os.environ.get("JAXGS_BACKEND") or "auto"
  return backend in ("auto", "cpu") and native.library() is not None


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
  return _on_device(header, symbols), header


@functools.cache
def _jitted():
  import jax

  return jax.jit(from_symbols, static_argnames=("transform",))


def _on_device(header: codec.Header, symbols: codec.Symbols) -> Gaussians2D:
  from jaxgs.quantize import device_lattice

  return _jitted()(
    symbols, device_lattice(header.lattice), transform=header.transform
  )


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
  painter = _native_painter if uses_native(backend) else _jax_painter
  count_pairs, paint = painter(header, symbols, spec, channels)
  pairs = count_pairs(window)
  if pairs > MAX_PAIRS:
    raise codec.BitstreamError(
      f"the splats touch {pairs:.3g} tiles in all, over the limit of"
      f" {MAX_PAIRS}: not drawn"
    )
  height, width = window.height, window.width
  pictures = {
    one.name: np.empty((height, width, one.channels), dtype_of(one))
    for one in maps
  }
  rows = max(4 * _BAND_PX // (width * max(len(channels), 4)), 1)
  for top in range(0, height, rows):
    band = window.rows(top, min(rows, height - top))
    _finish(paint(band), header.gamma, maps, pictures, top)
  return pictures


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


def _finish(
  image: np.ndarray,
  gamma: int,
  maps: list[codec.Map],
  pictures: dict[str, np.ndarray],
  top: int,
) -> None:
  """Writes rows of a picture of all channels into those of the maps."""
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
) -> _Window:
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
  return _Window(x, y, w, h, scale)


# How many tile-splat pairs a window has, and its picture: (H, W, C) float32.
_Painter = tuple[Callable[[_Window], float], Callable[[_Window], np.ndarray]]


def _jax_painter(
  header: codec.Header,
  symbols: codec.Symbols,
  spec: RasterSpec,
  channels: list[int],
) -> _Painter:
  if spec.backend in ("auto", "cpu"):
    native.announce_slow_path()
  from jaxgs.rasterize import pairs_of, render

  gaussians = _on_device(header, symbols)
  if len(channels) < header.channels:
    feature = gaussians.feature[:, np.array(channels)]
    gaussians = gaussians._replace(feature=feature)

  def options(window: _Window) -> dict:
    x, y, width, height, scale = window
    size = {"height": height, "width": width, "scale": scale}
    return size | {"offset": (x, y), "spec": spec}

  return (
    lambda window: pairs_of(gaussians, **options(window)),
    lambda window: np.asarray(render(gaussians, **options(window)).image),
  )


def _native_painter(
  header: codec.Header,
  symbols: codec.Symbols,
  spec: RasterSpec,
  channels: list[int],
) -> _Painter:
  library = native.library()
  num_threads = native.num_threads()
  gaussians = from_symbols(
    symbols, host_lattice(header.lattice), transform=header.transform
  )
  if len(channels) < header.channels:
    gaussians = gaussians._replace(feature=gaussians.feature[:, channels])

  def splats_in(window: _Window) -> Splats:
    splats = place(gaussians, scale=window.scale, offset=(window.x, window.y))
    return Splats(*(np.ascontiguousarray(leaf, np.float32) for leaf in splats))

  def count_pairs(window: _Window) -> float:
    mean, conic, log_weight, _ = _pointers(splats := splats_in(window))
    return library.jaxgs_count_pairs(
      mean,
      conic,
      log_weight,
      len(splats.mean),
      window.height,
      window.width,
      spec.cutoff,
      spec.tile,
    )

  def paint(window: _Window) -> np.ndarray:
    splats = splats_in(window)
    shape = (window.height, window.width, len(channels))
    image = np.empty(shape, np.float32)
    status = library.jaxgs_draw(
      *_pointers(splats),
      len(splats.mean),
      len(channels),
      window.height,
      window.width,
      int(spec.blend == "sum"),
      spec.top_k,
      spec.cutoff,
      int(spec.edge == "smooth"),
      spec.epsilon,
      spec.tile,
      num_threads,
      native.pointer(image, np.float32),
    )
    if status:
      raise MemoryError(f"drawing {window.width}x{window.height} px")
    return image

  return count_pairs, paint


def _pointers(splats: Splats) -> list[int]:
  return [native.pointer(leaf, np.float32) for leaf in splats]


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
