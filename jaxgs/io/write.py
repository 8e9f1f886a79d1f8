"""Arrays to image files."""

import os

import numpy as np

from jaxgs.io.exr import check_openexr, encode_exr
from jaxgs.io.files import (
  IMAGE_SUFFIXES,
  ImageError,
  check_suffix,
  write_atomic,
)
from jaxgs.io.pillow import encode_pillow
from jaxgs.io.png import encode_png
from jaxgs.io.profiles import icc_name, icc_space
from jaxgs.io.radiance import encode_radiance
from jaxgs.io.tiff import encode_tiff

_NO_ALPHA = (".jpg", ".jpeg", ".bmp", ".hdr")
_NO_PROFILE = (".bmp", ".exr", ".hdr")
_HAS_16_BITS = (".png", ".tif", ".tiff")
_HAS_FLOATS = (".exr", ".hdr", ".tif", ".tiff")
_ONLY_FLOATS = (".exr", ".hdr")
# 14 bits in the header of WebP; libjpeg's JPEG_MAX_DIMENSION.
_MAX_SIDE_PX = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
_SAMPLES = {
  np.dtype(np.uint8): "integer",
  np.dtype(np.uint16): "integer",
  np.dtype(np.float16): "half",
  np.dtype(np.float32): "float",
}


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
    sample: "integer", or "half" or "float" for linear light.
    icc: the colour profile to be stored with it.

  Raises:
    ImageError: an unknown suffix, no pixels, sides that are too long,
      channels, samples or a profile that the format does not have, or .exr
      without its package.
  """
  suffix = check_suffix(path, IMAGE_SUFFIXES)
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
  _check_sample(path, suffix, sample)
  num_colours = num_channels - has_alpha
  if icc is not None and (fault := profile_fault(path, num_colours, icc)):
    raise ImageError(path, fault)


def _check_sample(path: str | os.PathLike, suffix: str, sample: str) -> None:
  if sample not in _SAMPLES.values():
    raise ImageError(
      path, f"sample {sample!r}, expected 'integer', 'half' or 'float'"
    )
  if sample == "integer" and suffix in _ONLY_FLOATS:
    raise ImageError(
      path, f"{suffix} stores linear light, the picture has integers"
    )
  if sample != "integer" and suffix not in _HAS_FLOATS:
    raise ImageError(
      path,
      f"{suffix} cannot store linear light of any range, expected one of"
      f" {', '.join(_HAS_FLOATS)}",
    )
  if suffix == ".exr":
    check_openexr(path)


def profile_fault(
  path: str | os.PathLike, num_colours: int, icc: bytes
) -> str | None:
  """Why an image file cannot store a colour profile, or None if it can.

  Args:
    path: the file to be written; the suffix chooses the format.
    num_colours: channels that are not alpha.
    icc: the profile.

  Returns:
    The reason in a few words.

  Raises:
    ImageError: an unknown suffix.
  """
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  if suffix in _NO_PROFILE:
    return f"{suffix} cannot store a colour profile"
  # WebP has no grey: the pixels become RGB, their profile does not.
  is_grey = num_colours == 1 and suffix != ".webp"
  colours = "GRAY" if is_grey else "RGB"
  if icc_space(icc) != colours:
    found = f"{icc_space(icc) or 'no known'} colours"
    return f"colour profile {icc_name(icc)} of {found}, expected {colours}"
  return None


def write_image(
  path: str | os.PathLike,
  pixels: np.ndarray,
  *,
  bit_depth: int = 8,
  has_alpha: bool = False,
  sample: str = "integer",
  icc: bytes | None = None,
  jpeg_quality: int = 95,
) -> None:
  """Writes a picture; the suffix chooses the format.

  PNG and TIFF hold every combination of integers. JPEG, WebP and BMP have 8
  bits: a `bit_depth` of 16 is rounded to that. WebP is lossless (also the
  colours under full transparency) and has no grey: 1 and 2 channels are read
  back as 3 and 4. JPEG keeps its colours at full resolution (4:4:4).

  Linear light goes to OpenEXR or TIFF, as halfs or floats, or to Radiance HDR,
  which has 8 bits per colour and an exponent, no grey (1 channel is read back
  as 3) and no alpha. OpenEXR holds colours multiplied by alpha: those under
  full transparency are lost.

  The file appears whole or not at all.

  Args:
    path: ends in .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, .exr or .hdr.
    pixels: (H, W, C) float, C in 1 to 4. Integers are in [0, 1], linear light
      and its alpha as in `Image`; values outside are clipped, to 65504 as
      halfs; those between two levels are rounded to the nearest.
    bit_depth: 8 or 16, of integers; `sample` tells that of linear light.
    has_alpha: the last channel is alpha: True for 2 and 4 channels, False for
      1 and 3.
    sample: "integer"; "half" or "float" for linear light.
    icc: the colour profile of the pixels, stored as it is in PNG, JPEG, WebP
      and TIFF.
    jpeg_quality: 1 to 100.

  Raises:
    ImageError: bad shape, depth or quality, NaN or infinite pixels, an unknown
      suffix, what `check_format` refuses, or a file that cannot be written.
      An existing file is then as it was.
  """
  pixels = np.asarray(pixels)
  if pixels.ndim != 3:
    raise ImageError(
      path, f"pixels of shape {pixels.shape}, expected (H, W, C)"
    )
  check_format(path, pixels.shape, has_alpha=has_alpha, sample=sample, icc=icc)
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  if sample == "integer" and bit_depth not in (8, 16):
    raise ImageError(path, f"bit_depth {bit_depth}, expected 8 or 16")
  _check_pixels(path, pixels)
  if sample == "integer":
    wide = bit_depth == 16 and suffix in _HAS_16_BITS
    samples = _quantise(pixels, np.uint16 if wide else np.uint8)
  else:
    dtype = np.float16 if sample == "half" else np.float32
    samples = _limit(pixels, dtype, has_alpha)
  _write(path, samples, suffix, jpeg_quality, icc)


def write_samples(
  path: str | os.PathLike,
  samples: np.ndarray,
  *,
  has_alpha: bool = False,
  icc: bytes | None = None,
  jpeg_quality: int = 95,
) -> None:
  """Writes a picture of samples as they are; see `write_image`.

  Args:
    path: as in `write_image`.
    samples: (H, W, C). uint8 or uint16, the largest integer for 1; uint16 is
      rounded to 8 bits where the format has no more. float16 or float32:
      linear light, clipped as in `write_image`.
    has_alpha: as in `write_image`.
    icc: as in `write_image`.
    jpeg_quality: as in `write_image`.

  Raises:
    ImageError: as in `write_image`.
  """
  samples = np.asarray(samples)
  if samples.ndim != 3 or samples.dtype not in _SAMPLES:
    raise ImageError(
      path,
      f"samples of {samples.dtype}, shape {samples.shape}, expected (H, W, C)"
      " of uint8, uint16, float16 or float32",
    )
  sample = _SAMPLES[samples.dtype]
  check_format(path, samples.shape, has_alpha=has_alpha, sample=sample, icc=icc)
  suffix = check_suffix(path, IMAGE_SUFFIXES)
  if sample != "integer":
    _check_pixels(path, samples)
    samples = _limit(samples, samples.dtype, has_alpha)
  elif samples.dtype == np.uint16 and suffix not in _HAS_16_BITS:
    samples = _quantise(samples / np.float32(65535), np.uint8)
  _write(path, samples, suffix, jpeg_quality, icc)


def _write(
  path: str | os.PathLike,
  samples: np.ndarray,
  suffix: str,
  jpeg_quality: int,
  icc: bytes | None,
) -> None:
  if not 1 <= jpeg_quality <= 100:
    raise ImageError(path, f"jpeg_quality {jpeg_quality}, expected 1 to 100")
  try:
    data = _encode(samples, suffix, jpeg_quality, icc)
  # Any type: each codec has its own errors, and most faults are about size.
  except Exception as error:
    raise ImageError(path, f"cannot encode as {suffix}: {error}") from error
  write_atomic(path, data)


def _check_pixels(path: str | os.PathLike, pixels: np.ndarray) -> None:
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


def _limit(pixels: np.ndarray, dtype, has_alpha: bool) -> np.ndarray:
  limited = np.clip(pixels, 0, np.finfo(dtype).max).astype(dtype)
  if has_alpha:
    np.minimum(limited[..., -1], 1, out=limited[..., -1])
  return limited


def _encode(
  samples: np.ndarray, suffix: str, jpeg_quality: int, icc: bytes | None
) -> bytes:
  if suffix in (".tif", ".tiff"):
    return encode_tiff(samples, icc)
  if suffix == ".exr":
    return encode_exr(samples)
  if suffix == ".hdr":
    return encode_radiance(np.broadcast_to(samples, (*samples.shape[:2], 3)))
  if samples.shape[2] == 1:
    samples = samples[..., 0]
  if suffix == ".png":
    return encode_png(samples, icc)
  return encode_pillow(samples, suffix, jpeg_quality, icc)
