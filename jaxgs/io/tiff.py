"""TIFF: through tifffile, which tells where tags and pixels lie.

By that a TIFF that is cut short is known.
"""

import io
import os
import struct

import numpy as np

from jaxgs.io.decoded import Decoded, check_size
from jaxgs.io.files import ImageError
from jaxgs.io.linear import divide_by_alpha

_ORIENTATION = 274
_ICC_PROFILE = 34675


def decode_tiff(path: str | os.PathLike, data: bytes) -> Decoded:
  """Decodes a TIFF file of one picture, of integers or floats."""
  import tifffile

  with tifffile.TiffFile(io.BytesIO(data)) as tiff:
    # Thumbnails, pyramid levels and masks are not further pictures.
    pages = [p for p in tiff.pages if not (p.is_reduced or p.is_mask)]
    if len(pages) > 1:
      raise ImageError(path, f"TIFF with {len(pages)} pages")
    if not pages:
      raise ImageError(path, "truncated or damaged TIFF")
    page = pages[0]
    _check_tiff_tags(path, data, tiff.tiff, page)
    check_size(path, page.imagewidth, page.imagelength)
    # Some codecs decode a tile that is cut short (JPEG: grey at the end).
    ends = np.add(page.dataoffsets, page.databytecounts)
    if not ends.size or ends.max() > len(data):
      raise ImageError(path, "truncated TIFF")
    samples, peak = _tiff_samples(path, page)
    sample = "integer"
    if samples.dtype.kind == "f":
      sample = "half" if page.dtype == np.float16 else "float"
    orientation = page.tags.valueof(_ORIENTATION, 1)
    icc = page.tags.valueof(_ICC_PROFILE)
  if not isinstance(icc, bytes):  # None, or a tag of a wrong type.
    icc = None
  return Decoded(samples, peak, sample, orientation, icc)


def _check_tiff_tags(
  path: str | os.PathLike, data: bytes, layout, page
) -> None:
  """Refuses a page of which tifffile left out what it could not read.

  It only logs a tag whose value lies behind the end of the file: a picture
  with its number of bits lost would then be read as one of 1 bit.
  """
  (num_tags,) = struct.unpack_from(layout.tagnoformat, data, page.offset)
  start = page.offset + layout.tagnosize
  end = start + num_tags * layout.tagsize
  codes = {
    struct.unpack_from(f"{layout.byteorder}H", data, position)[0]
    for position in range(start, end, layout.tagsize)
  }
  lost = codes.difference(tag.code for tag in page.tags)
  # From 32768 on the tags are private; of those only the colour profile is
  # read, and a picture is whole without it.
  if any(code < 32768 for code in lost):
    raise ImageError(path, f"truncated TIFF: tag {min(lost)} is unreadable")
  if struct.unpack_from(layout.offsetformat, data, end)[0] > len(data):
    raise ImageError(path, "truncated TIFF: the second page is missing")


def _tiff_samples(path: str | os.PathLike, page) -> tuple[np.ndarray, int]:
  """The samples of a tifffile page as (H, W, C), and their largest value."""
  import tifffile

  # Before decoding: thousands of samples per pixel would be an array of
  # terabytes.
  if page.axes not in ("YX", "YXS", "SYX") or page.samplesperpixel > 4:
    raise ImageError(
      path,
      f"TIFF of {page.samplesperpixel} samples per pixel, axes {page.axes}, "
      "is not supported",
    )
  samples = page.asarray()
  if page.axes == "SYX":
    samples = np.moveaxis(samples, 0, -1)
  elif page.axes == "YX":
    samples = samples[..., None]
  kind = samples.dtype.kind
  bits = page.bitspersample
  if kind == "f":
    peak = 1
  elif kind in "bu" and isinstance(bits, int) and bits <= 16:
    peak = 2**bits - 1
  else:
    raise ImageError(path, f"TIFF of {samples.dtype} is not supported")
  photometric = page.photometric
  kinds = tifffile.PHOTOMETRIC
  if photometric == kinds.PALETTE and page.colormap is not None:
    # The map is (3, 2**bits) of 16 bits. Writers of 8-bit colours put them in
    # the high byte, and zero or the same again in the low one.
    table = np.moveaxis(np.asarray(page.colormap), 0, -1)
    if not (table % 256).any() or not (table % 257).any():
      return (table // 256).astype(np.uint8)[samples[..., 0]], 255
    return table[samples[..., 0]], 65535
  num_colours = 1
  if photometric == kinds.MINISWHITE:
    samples = samples.copy()
    samples[..., 0] = peak - samples[..., 0]
  elif photometric in (kinds.RGB, kinds.YCBCR):
    num_colours = 3
  elif photometric != kinds.MINISBLACK:
    name = getattr(photometric, "name", photometric)
    raise ImageError(path, f"TIFF of colours {name} is not supported")
  return _tiff_alpha(path, page, samples, num_colours, peak), peak


def _tiff_alpha(
  path: str | os.PathLike,
  page,
  samples: np.ndarray,
  num_colours: int,
  peak: int,
) -> np.ndarray:
  """Checks the samples beyond the colours; undoes a multiplied alpha."""
  import tifffile

  num_extra = samples.shape[2] - num_colours
  if num_extra not in (0, 1):
    raise ImageError(
      path, f"TIFF of {samples.shape[2]} samples per pixel is not supported"
    )
  if not num_extra or page.extrasamples != (tifffile.EXTRASAMPLE.ASSOCALPHA,):
    return samples
  if samples.dtype.kind == "f":
    return divide_by_alpha(samples)
  alpha = samples[..., -1:]
  safe = np.maximum(alpha, 1).astype(np.float32)
  colours = samples[..., :-1] * np.float32(peak) / safe
  colours = np.where(alpha > 0, np.minimum(colours, np.float32(peak)), 0)
  colours = np.rint(colours).astype(samples.dtype)
  return np.concatenate([colours, alpha], axis=-1)


def encode_tiff(samples: np.ndarray, icc: bytes | None) -> bytes:
  """Encodes (H, W, C) uint8, uint16, float16 or float32."""
  import imageio.v3 as iio

  num_channels = samples.shape[2]
  return iio.imwrite(
    "<bytes>",
    samples if num_channels > 1 else samples[..., 0],
    plugin="tifffile",
    photometric="minisblack" if num_channels < 3 else "rgb",
    # Without these a small picture is taken for a stack of pages.
    planarconfig=None if num_channels == 1 else "contig",
    extrasamples=["unassalpha"] if num_channels in (2, 4) else None,
    compression="zlib",
    predictor=True,
    iccprofile=icc,
    metadata=None,
  )
