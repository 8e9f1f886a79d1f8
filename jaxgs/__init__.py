"""jaxgs: images as 2D Gaussians, fitted, quantised and coded in JAX.

The public names load their modules when they are first used: decoding a file
on a CPU needs no jax, and asking for help nothing at all.
"""

import importlib
import sys
import typing
from types import ModuleType as _ModuleType

if typing.TYPE_CHECKING:
  from jaxgs import metrics
  from jaxgs.backends import use_backend
  from jaxgs.batch import fit_batch
  from jaxgs.binning import bin_splats
  from jaxgs.codec import (
    BitstreamError,
    Header,
    Lattice,
    Map,
    Symbols,
    decode,
    encode,
  )
  from jaxgs.compress import compress, fit_image
  from jaxgs.config import (
    CompressConfig,
    FieldBits,
    FitConfig,
    QuantConfig,
    RasterSpec,
    Rates,
    preset,
  )
  from jaxgs.decompress import (
    decode_gaussians,
    decompress,
    decompress_stack,
  )
  from jaxgs.dequantize import from_symbols
  from jaxgs.fit import FitResult, fit, fit_chunk
  from jaxgs.init import init_gaussians
  from jaxgs.project import project
  from jaxgs.quantize import (
    device_lattice,
    lattice_of,
    quantize,
    to_symbols,
  )
  from jaxgs.rasterize import rasterize, render
  from jaxgs.rate import coded_bits
  from jaxgs.rate_control import TargetError, compress_to_psnr, compress_to_size
  from jaxgs.stack import compress_stack
  from jaxgs.state import FitState, init_fit
  from jaxgs.stream import compress_batch
  from jaxgs.types import Gaussians2D, RenderOutput, Splats, TileBins

__all__ = [
  "BitstreamError",
  "CompressConfig",
  "FieldBits",
  "FitConfig",
  "FitResult",
  "FitState",
  "Gaussians2D",
  "Header",
  "Lattice",
  "Map",
  "QuantConfig",
  "RasterSpec",
  "Rates",
  "RenderOutput",
  "Splats",
  "Symbols",
  "TargetError",
  "TileBins",
  "bin_splats",
  "coded_bits",
  "compress",
  "compress_batch",
  "compress_stack",
  "compress_to_psnr",
  "compress_to_size",
  "decode",
  "decode_gaussians",
  "decompress",
  "decompress_stack",
  "device_lattice",
  "encode",
  "fit",
  "fit_batch",
  "fit_chunk",
  "fit_image",
  "from_symbols",
  "init_fit",
  "init_gaussians",
  "lattice_of",
  "metrics",
  "preset",
  "project",
  "quantize",
  "rasterize",
  "render",
  "to_symbols",
  "use_backend",
]

# Where each public name lives.
_NAMES = {
  "backends": ("use_backend",),
  "batch": ("fit_batch",),
  "binning": ("bin_splats",),
  "codec": (
    "BitstreamError",
    "Header",
    "Lattice",
    "Map",
    "Symbols",
    "decode",
    "encode",
  ),
  "compress": (
    "compress",
    "fit_image",
  ),
  "config": (
    "CompressConfig",
    "FieldBits",
    "FitConfig",
    "QuantConfig",
    "RasterSpec",
    "Rates",
    "preset",
  ),
  "decompress": (
    "decode_gaussians",
    "decompress",
    "decompress_stack",
  ),
  "dequantize": ("from_symbols",),
  "fit": (
    "FitResult",
    "fit",
    "fit_chunk",
  ),
  "init": ("init_gaussians",),
  "project": ("project",),
  "quantize": (
    "device_lattice",
    "lattice_of",
    "quantize",
    "to_symbols",
  ),
  "rasterize": (
    "rasterize",
    "render",
  ),
  "rate": ("coded_bits",),
  "rate_control": (
    "TargetError",
    "compress_to_psnr",
    "compress_to_size",
  ),
  "stack": ("compress_stack",),
  "state": (
    "FitState",
    "init_fit",
  ),
  "stream": ("compress_batch",),
  "types": (
    "Gaussians2D",
    "RenderOutput",
    "Splats",
    "TileBins",
  ),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str):
  if name in _HOMES:
    value = getattr(importlib.import_module(f"jaxgs.{_HOMES[name]}"), name)
  elif name == "metrics":
    value = importlib.import_module("jaxgs.metrics")
  else:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})


class _Package(_ModuleType):
  """A package whose functions are not hidden by modules of the same name.

  Importing `jaxgs.fit` binds that name here to the module; it has to stay the
  function `fit`, whichever comes first.
  """

  def __setattr__(self, name: str, value) -> None:
    if not (name in _HOMES and isinstance(value, _ModuleType)):
      super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
