"""How close two pictures are (jnp, batched), and two codecs (numpy)."""

from jaxgs.metrics.bd_rate import bd_psnr, bd_rate
from jaxgs.metrics.hdr import log_psnr, pu_psnr
from jaxgs.metrics.psnr import mse, psnr
from jaxgs.metrics.ssim import ms_ssim, ssim, ssim_map

__all__ = [
  "bd_psnr",
  "bd_rate",
  "log_psnr",
  "ms_ssim",
  "mse",
  "psnr",
  "pu_psnr",
  "ssim",
  "ssim_map",
]
