"""Arrays to image files."""

import io
import os

import numpy as np

from jaxgs.io.files import (
  IMAGE_SUFFIXES,
  ImageError,
  check_suffix,
  write_atomic,
)

_NO_ALPHA = (".jpg", ".jpeg", ".bmp")
_HAS_16_BITS = (".png", ".tif", ".tiff")


def write_image(
  path: str | os.PathLike,
  pixels: np.ndarray,
  *,
  bit_depth: int = 8,
  has_alpha: bool = False,
  jpeg_quality: int = 95,
) -> None:
  """Writes a picture; the suffix chooses the format.

  PNG and TIFF hold every combination. JPEG, WebP and BMP have 8 bits: a
  `bit_depth` of 16 is rounded to that. WebP is lossless (also the colours
  under full transparency) and has no grey: 1 and 2 channels are read back as
  3 and 4. JPEG keeps its colours at full resolution (4:4:4). The file appears
  whole or not at all.

  Args:
    path: ends in .png, .jpg, .jpeg, .webp, .bmp, .tif or .tiff.
    pixels: (H, W, C) float, C in 1 to 4, in [0, 1]; values outside are
      clipped, those between two levels are rounded to the nearest.
    bit_depth: 8 or 16.
    has_alpha: the last channel is alpha: True for 2 and 4 channels, False for
      1 and 3.
    jpeg_quality: 1 to 100.

  Raises:
    ImageError: bad shape, depth or quality, NaN or infinite pixels, an unknown
      suffix, alpha in a format without it, or a file that cannot be written.
      An existing file is then as it was.
  """
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  pixels = np.asarray(pixels)
  _check_pixels(path, pixels, bit_depth, has_alpha)
  if not 1 <= jpeg_quality <= 100:
    raise ImageError(path, f"jpeg_quality {jpeg_quality}, expected 1 to 100")
  if has_alpha and suffix in _NO_ALPHA:
    raise ImageError(path, f"{suffix} cannot store alpha")
  wide = bit_depth == 16 and suffix in _HAS_16_BITS
  samples = _quantise(pixels, np.uint16 if wide else np.uint8)
  try:
    data = _encode(samples, suffix, jpeg_quality)
  # Any type: each codec has its own errors, and most faults are about size.
  except Exception as error:
    raise ImageError(path, f"cannot encode as {suffix}: {error}") from error
  write_atomic(path, data)


def _check_pixels(
  path: str | os.PathLike, pixels: np.ndarray, bit_depth: int, has_alpha: bool
) -> None:
  if bit_depth not in (8, 16):
    raise ImageError(path, f"bit_depth {bit_depth}, expected 8 or 16")
  if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
    raise ImageError(
      path, f"pixels of shape {pixels.shape}, expected (H, W, 1 to 4)"
    )
  if not pixels.size:
    raise ImageError(path, f"zero-sized image, shape {pixels.shape}")
  if not np.issubdtype(pixels.dtype, np.floating):
    # Integers in 0..255 would all be clipped to white.
    raise ImageError(path, f"pixels of {pixels.dtype}, expected floats")
  if has_alpha != (pixels.shape[2] in (2, 4)):
    raise ImageError(
      path, f"has_alpha={has_alpha} with {pixels.shape[2]} channels"
    )
  if not np.isfinite(pixels).all():
    raise ImageError(path, "NaN or infinite pixels")


def _quantise(pixels: np.ndarray, dtype: type) -> np.ndarray:
  peak = np.iinfo(dtype).max
  # float32 places every one of the 65536 levels well within half a step.
  levels = np.clip(pixels.astype(np.float32), 0, 1) * np.float32(peak)
  return np.rint(levels).astype(dtype)


def _encode(samples: np.ndarray, suffix: str, jpeg_quality: int) -> bytes:
  num_channels = samples.shape[2]
  if num_channels == 1:
    samples = samples[..., 0]
  if suffix == ".png":
    import imagecodecs

    return imagecodecs.png_encode(samples)
  buffer = io.BytesIO()
  if suffix in (".tif", ".tiff"):
    import tifffile

    tifffile.imwrite(
      buffer,
      samples,
      photometric="minisblack" if num_channels < 3 else "rgb",
      # Without these a small picture is taken for a stack of pages.
      planarconfig=None if num_channels == 1 else "contig",
      extrasamples=["unassalpha"] if num_channels in (2, 4) else None,
      compression="zlib",
      predictor=True,
      metadata=None,
    )
    return buffer.getvalue()
  import PIL.Image

  mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[num_channels]
  image = PIL.Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())
  if suffix == ".webp":
    image = image.convert("RGBA" if num_channels in (2, 4) else "RGB")
    image.save(buffer, "WEBP", lossless=True, exact=True)
  elif suffix == ".bmp":
    image.save(buffer, "BMP")
  else:
    image.save(buffer, "JPEG", quality=jpeg_quality, subsampling=0)
  return buffer.getvalue()
