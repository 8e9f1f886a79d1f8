"""How close two pictures are; jnp, batched over the leading axes."""

from jaxgs.metrics.psnr import mse, psnr
from jaxgs.metrics.ssim import ms_ssim, ssim, ssim_map

__all__ = ["ms_ssim", "mse", "psnr", "ssim", "ssim_map"]
