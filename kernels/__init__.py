"""Backends: who draws, and who does what comes before and after.

One folder per op, one module per backend in it. Arrays, a spec and a size
(height, width) go in, arrays come out:

  rasterize: check(spec, platform) raises NotImplementedError with the reason
               where the backend cannot serve,
             forward(spec, size, splats, bins, keep=True) -> image, residuals,
               which may be None unless they are to be kept for
             backward(spec, size, splats, bins, residuals, cotangent)
               -> d_splats
  project:   project(gaussians, active=, scale=, offset=) -> splats
  binning:   bin_splats(spec, size, splats) -> bins
  loss:      image_loss(rendered, target, mask, l1=, l2=, ssim=)
               -> loss, mean squared error
  adam:      update(gaussians, gradient, moments, rates, corner=,
               scale_parameter=, log_scale_range=, log_weight_range=,
               feature_range=) -> gaussians, moments

Nothing outside this package imports such a module except through `load`.
"""

import importlib
import types

from jaxgs.config import RasterSpec

# Name -> platforms whose automatic choice it is; the first that serves wins.
BACKENDS = {
  "reference": (),
  "cpu": ("cpu",),
  "triton": ("gpu",),
  "xla": ("cpu", "gpu", "tpu"),
}

# Op -> backends that have a module of their own; the others take that of xla.
_OPS = {
  "rasterize": ("reference", "cpu", "triton", "xla"),
  "binning": ("cpu", "triton", "xla"),
  "loss": ("cpu", "triton", "xla"),
  "project": ("triton", "xla"),
  "adam": ("triton", "xla"),
}

# Side of a tile, px, that suits a backend. A step of triton on an H200 takes
# 0.14 ms with 8 and 0.21 ms with 16 (768x512, N = 10000); the C++ takes the
# same with 16 and 32, a fifth more with 8.
_TILES = {"triton": 8}
_TILE = 16


def default_tile(name: str) -> int:
  """The side of a tile, px, that suits a backend."""
  return _TILES.get(name, _TILE)


def check_name(name: str) -> None:
  """Raises ValueError if there is no backend of this name."""
  if name not in BACKENDS:
    raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {name!r}")


def load(name: str, op: str = "rasterize") -> types.ModuleType:
  """Imports what a backend has for an op.

  Args:
    name: A key of BACKENDS.
    op: A key of _OPS.

  Returns:
    The module.

  Raises:
    ValueError: The name is unknown.
  """
  check_name(name)
  module = name if name in _OPS[op] else "xla"
  return importlib.import_module(f"jaxgs.kernels.{op}.{module}")


def choose(name: str, spec: RasterSpec, platform: str) -> str:
  """Resolves a backend name.

  Args:
    name: A key of BACKENDS, or "auto".
    spec: What is to be drawn.
    platform: "cpu", "gpu" or "tpu".

  Returns:
    A key of BACKENDS.

  Raises:
    ValueError: The name is unknown.
    NotImplementedError: The backend named cannot serve; says why. The
      automatic choice moves on to the next instead.
  """
  if name != "auto":
    load(name).check(spec, platform)
    return name
  reasons = []
  for candidate, platforms in BACKENDS.items():
    if platform not in platforms:
      continue
    try:
      load(candidate).check(spec, platform)
    except NotImplementedError as error:
      reasons.append(f"{candidate}: {error}")
      continue
    return candidate
  raise NotImplementedError(f"no backend for {platform}: {'; '.join(reasons)}")
