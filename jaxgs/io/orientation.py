"""Which way up a picture is."""

import numpy as np

_EXIF_ORIENTATION = 0x0112


def read_orientation(exif: bytes) -> int:
  """The EXIF orientation, 1 if there is none."""
  import PIL.Image

  tags = PIL.Image.Exif()
  # Damaged metadata is no reason to refuse a picture that is whole.
  try:
    tags.load(exif)
    return tags.get(_EXIF_ORIENTATION, 1)
  except Exception:
    return 1


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """Undoes the EXIF orientation: which edge row 0 and column 0 are."""
  if orientation in (5, 6, 7, 8):
    pixels = np.swapaxes(pixels, 0, 1)
  # After that swap, 6 still has its left and right exchanged, and so on.
  if orientation in (3, 4, 7, 8):
    pixels = pixels[::-1]
  if orientation in (2, 3, 6, 7):
    pixels = pixels[:, ::-1]
  return pixels
