"""jaxgs: images as 2D Gaussians, fitted, quantised and coded in JAX."""

from jaxgs import metrics
from jaxgs.binning import bin_splats
from jaxgs.codec import BitstreamError, Header, Lattice, Symbols, decode, encode
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
from jaxgs.decompress import decode_gaussians, decompress
from jaxgs.fit import FitResult, FitState, fit, fit_chunk, init_fit
from jaxgs.init import init_gaussians
from jaxgs.project import project
from jaxgs.quantize import (
  device_lattice,
  from_symbols,
  lattice_of,
  quantize,
  to_symbols,
)
from jaxgs.rasterize import rasterize, render, use_backend
from jaxgs.rate import coded_bits
from jaxgs.rate_control import TargetError, compress_to_psnr, compress_to_size
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
  "compress_to_psnr",
  "compress_to_size",
  "decode",
  "decode_gaussians",
  "decompress",
  "device_lattice",
  "encode",
  "fit",
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
