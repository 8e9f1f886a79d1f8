"""Where people look: maps of what matters in a picture.

`emlnet` and `weights` need flax, and are imported by those who use them.
"""

from jaxgs.saliency.maps import pixel_mask, read_map, resize_map
from jaxgs.saliency.spectral import spectral_residual

__all__ = [
  "pixel_mask",
  "read_map",
  "resize_map",
  "spectral_residual",
]
