"""JPEG, WebP and BMP: through imageio and Pillow."""

import os
import struct

import numpy as np

from jaxgs.io.decoded import Decoded, check_size
from jaxgs.io.files import ImageError
from jaxgs.io.orientation import read_orientation
from jaxgs.io.profiles import cmyk_to_srgb


def decode_pillow(
  path: str | os.PathLike, data: bytes, kind: str, *, to_srgb: bool
) -> Decoded:
  """Decodes a JPEG, WebP or BMP file.

  Args:
    path: for messages.
    data: the file.
    kind: "JPEG", "WEBP" or "BMP".
    to_srgb: turn a CMYK JPEG into RGB by its profile, where it has one; else
      by Pillow's formula.
  """
  import imageio.v3 as iio
  import PIL.Image

  if kind == "BMP":
    _check_bmp(path, data)
  try:
    file = iio.imopen(data, "r", plugin="pillow")
  except OSError as error:
    # imageio's own text names no reason.
    cause = error.__cause__ or error
    if isinstance(cause, PIL.Image.DecompressionBombError):
      # Its limit is a global setting, which is not ours to change.
      most = 2 * PIL.Image.MAX_IMAGE_PIXELS
      raise ImageError(
        path, f"larger than the {most} pixels that Pillow reads"
      ) from error
    raise cause from None
  with file:
    num_frames, height, width, *rest = file.properties(index=...).shape
    check_size(path, width, height)
    # A JPEG of several frames is an MPO: further views or a gain map behind
    # the picture, no animation.
    if num_frames > 1 and kind != "JPEG":
      raise ImageError(path, f"animated: {num_frames} frames")
    # Damaged metadata is no reason to refuse a picture that is whole. Pillow
    # complains once; `read` then goes on without it.
    try:
      metadata = file.metadata(index=0)
    except Exception:
      metadata = {}
    exif = metadata.get("exif", b"")
    icc = metadata.get("icc_profile")
    num_channels = rest[0] if rest else 1
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[num_channels]
    is_cmyk = kind == "JPEG" and num_channels == 4
    if is_cmyk:
      mode = "CMYK" if icc and to_srgb else "RGB"
    samples = file.read(index=0, mode=mode)
  if mode == "CMYK":
    samples = cmyk_to_srgb(path, samples, icc)
  if is_cmyk:
    icc = None  # It is of the inks, which are gone.
  if samples.ndim == 2:
    samples = samples[..., None]
  return Decoded(samples, 255, orientation=read_orientation(exif), icc=icc)


def _check_bmp(path: str | os.PathLike, data: bytes) -> None:
  # The header's file size is 0 in some old writers. Pillow does not look at
  # it, and a cut within the padding of the last row would pass.
  if len(data) < 26 or struct.unpack_from("<I", data, 2)[0] > len(data):
    raise ImageError(path, "truncated BMP")
  header_size = struct.unpack_from("<I", data, 14)[0]
  # The OS/2 header of 12 bytes has 16-bit sides; a negative height says that
  # the rows go downwards.
  layout = "<HH" if header_size == 12 else "<ii"
  width, height = struct.unpack_from(layout, data, 18)
  check_size(path, width, abs(height))


def encode_pillow(
  samples: np.ndarray, suffix: str, jpeg_quality: int, icc: bytes | None
) -> bytes:
  """Encodes (H, W) or (H, W, C) uint8 as JPEG, WebP or BMP."""
  import imageio.v3 as iio

  options = {}
  if suffix == ".webp":
    options = {"lossless": True, "exact": True}
  elif suffix in (".jpg", ".jpeg"):
    options = {"quality": jpeg_quality, "subsampling": 0}
  if icc is not None:
    options["icc_profile"] = icc
  # Left to guess, imageio takes a narrow grey picture for a stack of pictures.
  return iio.imwrite(
    "<bytes>",
    samples,
    plugin="pillow",
    extension=suffix,
    is_batch=False,
    **options,
  )
