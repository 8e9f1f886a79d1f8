"""Arrays to image files."""

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
# 14 bits in the header of WebP; libjpeg's JPEG_MAX_DIMENSION.
_MAX_SIDE_PX = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}


def check_format(
  path: str | os.PathLike,
  shape: tuple[int, int, int],
  *,
  has_alpha: bool,
  sample: str = "integer",
  icc: bytes | None = None,
) -> None:
  """Checks that an image file can hold a picture, before it is drawn.

  Args:
    path: the file to be written; the suffix chooses the format.
    shape: (H, W, C) of the picture.
    has_alpha: the last channel is alpha.
    sample: "integer"; "half" and "float" are not written yet.
    icc: a colour profile, which is left out.

  Raises:
    ImageError: an unknown suffix, no pixels, sides that are too long, or
      channels that the format does not have.
  """
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  if sample != "integer":
    raise ImageError(path, f"{suffix} cannot store linear light")
  height, width, num_channels = shape
  if not (height and width):
    raise ImageError(path, f"zero-sized image, {width}x{height}")
  if num_channels not in (2, 4) if has_alpha else num_channels not in (1, 3):
    word = "with" if has_alpha else "without"
    raise ImageError(
      path,
      f"{num_channels} channels {word} alpha, expected 1 or 3 (2 or 4 with"
      " alpha)",
    )
  if has_alpha and suffix in _NO_ALPHA:
    raise ImageError(path, f"{suffix} cannot store alpha")
  most = _MAX_SIDE_PX.get(suffix, max(height, width))
  if max(height, width) > most:
    raise ImageError(
      path, f"{width}x{height} is larger than {suffix}'s {most}x{most}"
    )


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
  pixels = np.asarray(pixels)
  if pixels.ndim != 3:
    raise ImageError(
      path, f"pixels of shape {pixels.shape}, expected (H, W, C)"
    )
  check_format(path, pixels.shape, has_alpha=has_alpha)
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  _check_pixels(path, pixels, bit_depth)
  wide = bit_depth == 16 and suffix in _HAS_16_BITS
  samples = _quantise(pixels, np.uint16 if wide else np.uint8)
  _write(path, samples, suffix, jpeg_quality)


def write_samples(
  path: str | os.PathLike,
  samples: np.ndarray,
  *,
  has_alpha: bool = False,
  icc: bytes | None = None,
  jpeg_quality: int = 95,
) -> None:
  """Writes a picture of integers as they are; see `write_image`.

  Args:
    path: as in `write_image`.
    samples: (H, W, C) uint8 or uint16, the largest integer for 1; uint16 is
      rounded to 8 bits where the format has no more.
    has_alpha: as in `write_image`.
    icc: a colour profile, which is left out.
    jpeg_quality: as in `write_image`.

  Raises:
    ImageError: as in `write_image`.
  """
  samples = np.asarray(samples)
  if samples.ndim != 3 or samples.dtype not in (np.uint8, np.uint16):
    raise ImageError(
      path,
      f"samples of {samples.dtype}, shape {samples.shape}, expected (H, W, C)"
      " of uint8 or uint16",
    )
  check_format(path, samples.shape, has_alpha=has_alpha)
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  if samples.dtype == np.uint16 and suffix not in _HAS_16_BITS:
    samples = _quantise(samples / np.float32(65535), np.uint8)
  _write(path, samples, suffix, jpeg_quality)


def _write(
  path: str | os.PathLike, samples: np.ndarray, suffix: str, jpeg_quality: int
) -> None:
  if not 1 <= jpeg_quality <= 100:
    raise ImageError(path, f"jpeg_quality {jpeg_quality}, expected 1 to 100")
  try:
    data = _encode(samples, suffix, jpeg_quality)
  # Any type: each codec has its own errors, and most faults are about size.
  except Exception as error:
    raise ImageError(path, f"cannot encode as {suffix}: {error}") from error
  write_atomic(path, data)


def _check_pixels(
  path: str | os.PathLike, pixels: np.ndarray, bit_depth: int
) -> None:
  if bit_depth not in (8, 16):
    raise ImageError(path, f"bit_depth {bit_depth}, expected 8 or 16")
  if not np.issubdtype(pixels.dtype, np.floating):
    # Integers in 0..255 would all be clipped to white.
    raise ImageError(path, f"pixels of {pixels.dtype}, expected floats")
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
    # Pillow, and with it imageio, has no 16-bit RGB.
    import imagecodecs

    # Drawn pictures are smooth: what is left after the prediction repeats in
    # runs only. 12 ms instead of 100 at 768x512, and files 1 to 4 % larger.
    png = imagecodecs.PNG
    return imagecodecs.png_encode(
      samples, strategy=png.STRATEGY.RLE, filter=png.FILTER.PAETH
    )
  import imageio.v3 as iio

  if suffix in (".tif", ".tiff"):
    return iio.imwrite(
      "<bytes>",
      samples,
      plugin="tifffile",
      photometric="minisblack" if num_channels < 3 else "rgb",
      # Without these a small picture is taken for a stack of pages.
      planarconfig=None if num_channels == 1 else "contig",
      extrasamples=["unassalpha"] if num_channels in (2, 4) else None,
      compression="zlib",
      predictor=True,
      metadata=None,
    )
  options = {}
  if suffix == ".webp":
    options = {"lossless": True, "exact": True}
  elif suffix in (".jpg", ".jpeg"):
    options = {"quality": jpeg_quality, "subsampling": 0}
  # Left to guess, imageio takes a narrow grey picture for a stack of pictures.
  return iio.imwrite(
    "<bytes>",
    samples,
    plugin="pillow",
    extension=suffix,
    is_batch=False,
    **options,
  )
