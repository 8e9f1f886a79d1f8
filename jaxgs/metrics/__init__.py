"""How close two pictures are (jnp, batched), and two codecs (numpy)."""

from jaxgs.metrics.bd_rate import bd_psnr, bd_rate
from jaxgs.metrics.flip import flip, flip_map
from jaxgs.metrics.hdr import log_psnr, pu_psnr
from jaxgs.metrics.hdr_flip import (
  Exposures,
  flip_exposures,
  hdr_flip,
  hdr_flip_map,
)
from jaxgs.metrics.lpips import LpipsWeights, load_lpips_weights, lpips
from jaxgs.metrics.psnr import mse, psnr
from jaxgs.metrics.ssim import ms_ssim, ssim, ssim_map

__all__ = [
  "Exposures",
  "LpipsWeights",
  "bd_psnr",
  "bd_rate",
  "flip",
  "flip_exposures",
  "flip_map",
  "hdr_flip",
  "hdr_flip_map",
  "load_lpips_weights",
  "log_psnr",
  "lpips",
  "ms_ssim",
  "mse",
  "psnr",
  "pu_psnr",
  "ssim",
  "ssim_map",
]
