"""Symbols to pictures of all channels, in floats: with jax or without it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgs import codec, native
from jaxgs.config import RasterSpec
from jaxgs.dequantize import from_symbols, host_lattice
from jaxgs.placement import place
from jaxgs.types import Gaussians2D, Splats


class Window(NamedTuple):
  """What is drawn of the scaled picture: its corner and size, output px."""

  x: int
  y: int
  width: int
  height: int
  scale: float

  def rows(self, top: int, count: int) -> Window:
    """Some rows of the window."""
    return self._replace(y=self.y + top, height=count)


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


# How many tile-splat pairs a window has, and its picture: (H, W, C) float32.
Painter = tuple[Callable[[Window], float], Callable[[Window], np.ndarray]]


def painter_of(
  header: codec.Header,
  symbols: codec.Symbols,
  spec: RasterSpec,
  channels: list[int],
) -> Painter:
  """What draws some channels of a file.

  Args:
    header: Of the file.
    symbols: Of the file.
    spec: How to draw; its backend decides whether jax is needed.
    channels: Which, in order.

  Returns:
    See Painter.
  """
  make = _native_painter if uses_native(spec.backend) else _jax_painter
  return make(header, symbols, spec, channels)


@functools.cache
def _jitted():
  import jax

  return jax.jit(from_symbols, static_argnames=("transform",))


def on_device(header: codec.Header, symbols: codec.Symbols) -> Gaussians2D:
  """The Gaussians of a file as arrays of jax."""
  from jaxgs.quantize import device_lattice

  return _jitted()(
    symbols, device_lattice(header.lattice), transform=header.transform
  )


def _jax_painter(
  header: codec.Header,
  symbols: codec.Symbols,
  spec: RasterSpec,
  channels: list[int],
) -> Painter:
  if spec.backend in ("auto", "cpu"):
    native.announce_slow_path()
  from jaxgs.rasterize import pairs_of, render

  gaussians = on_device(header, symbols)
  if len(channels) < header.channels:
    feature = gaussians.feature[:, np.array(channels)]
    gaussians = gaussians._replace(feature=feature)

  def options(window: Window) -> dict:
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
) -> Painter:
  library = native.library()
  num_threads = native.num_threads()
  gaussians = from_symbols(
    symbols, host_lattice(header.lattice), transform=header.transform
  )
  if len(channels) < header.channels:
    gaussians = gaussians._replace(feature=gaussians.feature[:, channels])

  @functools.lru_cache(maxsize=1)
  def splats_at(scale: float) -> Splats:
    splats = place(gaussians, scale=scale)
    return Splats(*(np.ascontiguousarray(leaf, np.float32) for leaf in splats))

  def splats_in(window: Window) -> Splats:
    # Bands of one picture differ in their corner alone.
    splats = splats_at(window.scale)
    return splats._replace(
      mean=splats.mean - np.float32([[window.x, window.y]])
    )

  def count_pairs(window: Window) -> float:
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

  def paint(window: Window) -> np.ndarray:
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
