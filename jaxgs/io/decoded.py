"""What the decoders of all formats share: their result and their limits."""

import os
from typing import NamedTuple

import numpy as np

from jaxgs.io.files import ImageError

# What a .jgs file may have.
MAX_SIDE_PX = 65536
MAX_PIXELS = 1 << 28
LIMIT = f"{MAX_SIDE_PX} pixels a side and {MAX_PIXELS} in all"


class Decoded(NamedTuple):
  """A picture as a decoder finds it, perhaps lying on its side.

  Attributes:
    samples: (H, W, C) integers, or floats of linear light; C as in
      `jaxgs.io.Image`.
    peak: the integer that stands for 1; 1 for floats.
    sample: "integer", "half" or "float": as they were stored.
    orientation: of EXIF, 1 to 8; 1 is upright.
    icc: the colour profile that applies to `samples`, None without one.
  """

  samples: np.ndarray
  peak: int
  sample: str = "integer"
  orientation: int = 1
  icc: bytes | None = None


def check_size(path: str | os.PathLike, width: int, height: int) -> None:
  """Before decoding: a small file may declare an enormous picture."""
  if width <= 0 or height <= 0:
    raise ImageError(path, f"zero-sized image, {width}x{height}")
  if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
    raise ImageError(path, f"{width}x{height} is larger than {LIMIT}")
