"""Image files to float32 arrays.

The format is taken from the content, never from the suffix; each has its
module.
"""

import os
import pathlib
import warnings
from typing import NamedTuple

import numpy as np

from jaxgs.io.decoded import Decoded
from jaxgs.io.exr import decode_exr
from jaxgs.io.files import ImageError
from jaxgs.io.linear import clean_linear
from jaxgs.io.orientation import turn_upright
from jaxgs.io.pillow import decode_pillow
from jaxgs.io.png import decode_png
from jaxgs.io.profiles import kept_profile, to_srgb
from jaxgs.io.radiance import decode_radiance
from jaxgs.io.tiff import decode_tiff

_BIT_DEPTHS = {"half": 16, "float": 32}


class Image(NamedTuple):
  """A picture as it was stored, upright.

  Attributes:
    pixels: (H, W, C) float32; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or
      4 (RGB, alpha). Colours are not multiplied by alpha. In [0, 1] where
      `sample` is "integer"; else linear light, finite, 0 or more, and only
      alpha is in [0, 1].
    bit_depth: 8 or 16, the smaller that holds the integers that were stored;
      16 for "half", 32 for "float".
    has_alpha: the last channel is alpha.
    sample: "integer", "half" or "float": how a sample was stored.
    icc: the colour profile of the file, None where it has none or one that
      says what is assumed without: sRGB for integers, linear light of sRGB's
      primaries for floats.
  """

  pixels: np.ndarray
  bit_depth: int
  has_alpha: bool
  sample: str = "integer"
  icc: bytes | None = None


def read_image(
  path: str | os.PathLike, *, nan: str = "error", profile: str = "keep"
) -> Image:
  """Reads a PNG, JPEG, WebP, BMP, TIFF, OpenEXR or Radiance HDR file.

  Palettes and 1-, 2- and 4-bit pictures are expanded, CMYK JPEG becomes RGB,
  and the EXIF (or TIFF) orientation is applied. Of a stereo or gain-map JPEG
  (MPO) the main picture is taken; animations and TIFFs of several pages are
  refused. Of an OpenEXR file the first part is read, all of the pixels that
  are stored, whatever its display window; the channels R, G, B or Y, and A,
  also where they are of the only layer that has them. The rest is left out
  with a notice. Deep and subsampled pictures are refused. Colours that were
  multiplied by alpha (OpenEXR, some TIFF) are divided by it.

  Args:
    path: the file; its suffix does not matter.
    nan: what to do with floats that are not light. "error" refuses NaN and
      infinite pixels, and negative ones (or alpha outside [0, 1]), except
      those that rounding may leave: within 1/1000 of the largest colour (of 1
      for alpha), which are clipped with a notice. "zero" reads NaN and
      infinite as 0 and clips the others, with a notice.
    profile: "keep" leaves the colours as they are stored and returns the
      profile that they are of; "srgb" converts them by it, to sRGB or, floats,
      to linear light of sRGB's primaries, clips what is out of the gamut, and
      returns no profile. CMYK becomes RGB by its profile with "srgb" only.

  Returns:
    The picture, 1 to 65536 pixels on each side and at most 2^28 in all.

  Raises:
    ImageError: one line that names the file and what is wrong: missing, a
      directory, empty, not an image, truncated or damaged, zero-sized, too
      large, animated, several pages, other channels, pixels as above, a
      profile that cannot be used, or OpenEXR without its package.
    ValueError: `nan` or `profile` is another word.
  """
  if nan not in ("error", "zero"):
    raise ValueError(f"nan must be 'error' or 'zero', got {nan!r}")
  if profile not in ("keep", "srgb"):
    raise ValueError(f"profile must be 'keep' or 'srgb', got {profile!r}")
  data, kind = _read_bytes(path)
  decoded = _decode(path, data, kind, profile)
  sample, icc = decoded.sample, decoded.icc
  bit_depth = _BIT_DEPTHS.get(sample, 8 if decoded.peak <= 255 else 16)
  # A float64 may be too large for a float32: infinite, and told of as such.
  with np.errstate(over="ignore"):
    pixels = decoded.samples.astype(np.float32)
  # In place: a copy of the largest picture is 4 GiB.
  if decoded.peak != 1:
    pixels /= np.float32(decoded.peak)
  pixels = np.ascontiguousarray(turn_upright(pixels, decoded.orientation))
  has_alpha = pixels.shape[2] in (2, 4)
  if sample != "integer":
    clean_linear(path, pixels, has_alpha=has_alpha, nan=nan)
  if icc is not None and profile == "srgb":
    pixels = to_srgb(path, pixels, icc, sample=sample, has_alpha=has_alpha)
    icc = None
  elif icc is not None:
    num_colours = pixels.shape[2] - has_alpha
    icc = kept_profile(path, icc, sample=sample, num_colours=num_colours)
  return Image(pixels, bit_depth, has_alpha, sample, icc)


def _decode(
  path: str | os.PathLike, data: bytes, kind: str, profile: str
) -> Decoded:
  try:
    with warnings.catch_warnings():
      # Pillow warns of odd metadata and of sizes; sizes are checked here.
      warnings.simplefilter("ignore")
      if kind == "PNG":
        return decode_png(path, data)
      if kind == "TIFF":
        return decode_tiff(path, data)
      if kind == "OpenEXR":
        return decode_exr(path, data)
      if kind == "HDR":
        return decode_radiance(path, data)
      return decode_pillow(path, data, kind, to_srgb=profile == "srgb")
  except ImageError:
    raise
  # Any type: on damaged files decoders raise whatever their parsing trips on
  # (struct.error, KeyError, zlib.error, SyntaxError, ...).
  except Exception as error:
    reason = f"truncated or damaged {kind}"
    if str(error):
      reason += f": {error}"
    raise ImageError(path, reason) from error


def _read_bytes(path: str | os.PathLike) -> tuple[bytes, str]:
  """The content of the file and the name of its format."""
  file = pathlib.Path(path)
  try:
    if not file.exists():
      raise ImageError(path, "no such file")
    if file.is_dir():
      raise ImageError(path, "is a directory")
    if not file.is_file():  # A pipe or a device may never end.
      raise ImageError(path, "not a regular file")
    with file.open("rb") as stream:
      # The kind first: a film of many gigabytes is refused without reading it.
      kind = _sniff(path, stream.read(12))
      stream.seek(0)
      return stream.read(), kind
  except OSError as error:
    raise ImageError(path, error.strerror or str(error)) from error


def _sniff(path: str | os.PathLike, head: bytes) -> str:
  if not head:
    raise ImageError(path, "empty file")
  if head.startswith(b"\x89PNG\r\n\x1a\n"):
    return "PNG"
  if head.startswith(b"\xff\xd8\xff"):
    return "JPEG"
  if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
    return "WEBP"
  if head.startswith(b"BM"):
    return "BMP"
  # 42 marks TIFF, 43 BigTIFF; each in both byte orders.
  if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
    return "TIFF"
  if head.startswith(b"\x76\x2f\x31\x01"):
    return "OpenEXR"
  if head.startswith((b"#?RADIANCE", b"#?RGBE")):
    return "HDR"
  raise ImageError(
    path, "not a PNG, JPEG, WebP, BMP, TIFF, OpenEXR or Radiance HDR image"
  )
