"""Backends of the rasteriser.

A backend is a module with two functions over arrays:

  forward(spec, size, splats, bins) -> image, residuals
  backward(spec, size, splats, bins, residuals, cotangent) -> d_splats

where size is (height, width). Nothing outside this package imports a backend
module except through `load`.
"""

import importlib
import types

from jaxgs.config import RasterSpec

# Name -> (module, platforms whose automatic choice it is, best first).
BACKENDS = {
  "reference": ("jaxgs.kernels.rasterize.reference", ()),
  "xla": ("jaxgs.kernels.rasterize.xla", ("cpu", "gpu", "tpu")),
}


def check_name(name: str) -> None:
  """Raises ValueError if there is no backend of this name."""
  if name not in BACKENDS:
    raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {name!r}")


def load(name: str) -> types.ModuleType:
  """Imports a backend.

  Args:
    name: A key of BACKENDS.

  Returns:
    The module, with `forward`, `backward` and `check`.

  Raises:
    ValueError: The name is unknown.
  """
  check_name(name)
  return importlib.import_module(BACKENDS[name][0])


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
  for candidate, (_, platforms) in BACKENDS.items():
    if platform not in platforms:
      continue
    try:
      load(candidate).check(spec, platform)
    except NotImplementedError as error:
      reasons.append(f"{candidate}: {error}")
      continue
    return candidate
  raise NotImplementedError(f"no backend for {platform}: {'; '.join(reasons)}")
