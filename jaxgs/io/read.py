"""Image files to float32 arrays.

The format is taken from the content, never from the suffix. JPEG, WebP and BMP
go through imageio. PNG goes to imagecodecs (imageio's Pillow has no 16-bit RGB
and fills a PNG that is cut short with zeros), TIFF to tifffile (imageio does
not tell where tags and pixels lie, by which a TIFF that is cut short is
known). Colour profiles are ignored: the stored values are what is read.
"""

import io
import os
import pathlib
import struct
import warnings
from typing import NamedTuple

import numpy as np

from jaxgs.io.files import ImageError

MAX_SIDE_PX = 8192

_EXIF_ORIENTATION = 0x0112


class Image(NamedTuple):
  """A picture as it was stored, upright.

  Attributes:
    pixels: (H, W, C) float32 in [0, 1]; C is 1 (grey), 2 (grey, alpha),
      3 (RGB) or 4 (RGB, alpha). Colours are not multiplied by alpha.
    bit_depth: 8 or 16, the smaller that holds what was stored; 16 for floats.
    has_alpha: the last channel is alpha.
    sample: "integer", or "half" or "float": pixels are then linear, >= 0.
    icc: the colour profile that the file had, or None.
  """

  pixels: np.ndarray
  bit_depth: int
  has_alpha: bool
  sample: str = "integer"
  icc: bytes | None = None


def read_image(path: str | os.PathLike) -> Image:
  """Reads a PNG, JPEG, WebP, BMP or TIFF file.

  Palettes and 1-, 2- and 4-bit pictures are expanded, CMYK JPEG becomes RGB,
  and the EXIF (or TIFF) orientation is applied. A float TIFF is taken when its
  values are in [0, 1]. Of a stereo or gain-map JPEG (MPO) the main picture is
  taken; animations and TIFFs of several pages are refused.

  Args:
    path: the file; its suffix does not matter.

  Returns:
    The picture, 1 to 8192 pixels on each side.

  Raises:
    ImageError: one line that names the file and what is wrong: missing, a
      directory, empty, not an image, truncated or damaged, zero-sized, too
      large, animated, several pages, or NaN, infinite or out of [0, 1].
  """
  data, kind = _read_bytes(path)
  try:
    with warnings.catch_warnings():
      # Pillow warns of odd metadata and of sizes; sizes are checked here.
      warnings.simplefilter("ignore")
      if kind == "PNG":
        samples, peak, orientation = _decode_png(path, data)
      elif kind == "TIFF":
        samples, peak, orientation = _decode_tiff(path, data)
      else:
        samples, peak, orientation = _decode_imageio(path, data, kind)
  except ImageError:
    raise
  # Any type: on damaged files decoders raise whatever their parsing trips on
  # (struct.error, KeyError, zlib.error, SyntaxError, ...).
  except Exception as error:
    reason = f"truncated or damaged {kind}"
    if str(error):
      reason += f": {error}"
    raise ImageError(path, reason) from error
  bit_depth = 8 if samples.dtype.kind != "f" and peak <= 255 else 16
  # In place: a copy of the largest picture is 1 GiB.
  pixels = samples.astype(np.float32)
  if peak != 1:
    pixels /= np.float32(peak)
  pixels = np.ascontiguousarray(_turn_upright(pixels, orientation))
  return Image(pixels, bit_depth, pixels.shape[2] in (2, 4))


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
  raise ImageError(path, "not a PNG, JPEG, WebP, BMP or TIFF image")


def _check_size(path: str | os.PathLike, width: int, height: int) -> None:
  """Before decoding: a small file may declare an enormous picture."""
  if width == 0 or height == 0:
    raise ImageError(path, f"zero-sized image, {width}x{height}")
  if max(width, height) > MAX_SIDE_PX:
    limit = f"{MAX_SIDE_PX}x{MAX_SIDE_PX}"
    raise ImageError(path, f"{width}x{height} is larger than {limit}")


def _decode_png(
  path: str | os.PathLike, data: bytes
) -> tuple[np.ndarray, int, int]:
  import imagecodecs

  kept = [data[:8]]
  exif = b""
  position = 8
  kind = b""
  while kind != b"IEND":
    if position + 12 > len(data):
      raise ImageError(path, "truncated PNG")
    length, kind = struct.unpack_from(">I4s", data, position)
    end = position + 12 + length
    if end > len(data):
      raise ImageError(path, "truncated PNG")
    body = data[position + 8 : end - 4]
    if kind == b"IHDR":
      _check_size(path, *struct.unpack_from(">II", body))
    elif kind == b"acTL" and struct.unpack_from(">I", body)[0] > 1:
      num_frames = struct.unpack_from(">I", body)[0]
      raise ImageError(path, f"animated: {num_frames} frames")
    elif kind == b"eXIf":
      exif = body
    # Critical chunks and transparency. libpng prints on stderr about faults in
    # the others (colour profiles, mostly) and may act on some.
    if not kind[0] & 0x20 or kind == b"tRNS":
      kept.append(data[position:end])
    position = end
  samples = imagecodecs.png_decode(b"".join(kept))
  if samples.ndim == 2:
    samples = samples[..., None]
  return samples, np.iinfo(samples.dtype).max, _read_orientation(exif)


def _read_orientation(exif: bytes) -> int:
  """The EXIF orientation, 1 if there is none."""
  import PIL.Image

  tags = PIL.Image.Exif()
  # Damaged metadata is no reason to refuse a picture that is whole.
  try:
    tags.load(exif)
    return tags.get(_EXIF_ORIENTATION, 1)
  except Exception:
    return 1


def _decode_imageio(
  path: str | os.PathLike, data: bytes, kind: str
) -> tuple[np.ndarray, int, int]:
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
      limit = f"{MAX_SIDE_PX}x{MAX_SIDE_PX}"
      raise ImageError(path, f"larger than {limit}") from error
    raise cause from None
  with file:
    num_frames, height, width, *rest = file.properties(index=...).shape
    _check_size(path, width, height)
    # A JPEG of several frames is an MPO: further views or a gain map behind
    # the picture, no animation.
    if num_frames > 1 and kind != "JPEG":
      raise ImageError(path, f"animated: {num_frames} frames")
    # Damaged metadata is no reason to refuse a picture that is whole. Pillow
    # complains once; `read` then goes on without it.
    try:
      exif = file.metadata(index=0).get("exif", b"")
    except Exception:
      exif = b""
    num_channels = rest[0] if rest else 1
    if kind == "JPEG" and num_channels == 4:
      num_channels = 3  # CMYK.
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[num_channels]
    samples = file.read(index=0, mode=mode)
  if samples.ndim == 2:
    samples = samples[..., None]
  return samples, 255, _read_orientation(exif)


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
  _check_size(path, width, abs(height))


def _decode_tiff(
  path: str | os.PathLike, data: bytes
) -> tuple[np.ndarray, int, int]:
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
    _check_size(path, page.imagewidth, page.imagelength)
    # Some codecs decode a tile that is cut short (JPEG: grey at the end).
    ends = np.add(page.dataoffsets, page.databytecounts)
    if not ends.size or ends.max() > len(data):
      raise ImageError(path, "truncated TIFF")
    orientation = page.tags.get(274)
    orientation = orientation.value if orientation else 1
    samples, peak = _tiff_samples(path, page)
  return samples, peak, orientation


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
  # From 32768 on the tags are private, and nothing here reads them.
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
    if not np.isfinite(samples).all():
      raise ImageError(path, "NaN or infinite pixels")
    if samples.min() < 0 or samples.max() > 1:
      found = f"{samples.min():.6g} to {samples.max():.6g}"
      raise ImageError(path, f"float pixels of {found}, expected 0 to 1")
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
  alpha = samples[..., -1:]
  safe = np.maximum(alpha, np.finfo(np.float32).tiny).astype(np.float32)
  colours = samples[..., :-1] * np.float32(peak) / safe
  colours = np.where(alpha > 0, np.minimum(colours, np.float32(peak)), 0)
  if samples.dtype.kind != "f":
    colours = np.rint(colours)
  return np.concatenate([colours.astype(samples.dtype), alpha], axis=-1)


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """Undoes the EXIF orientation: which edge row 0 and column 0 are."""
  if orientation in (5, 6, 7, 8):
    pixels = np.swapaxes(pixels, 0, 1)
  # After that swap, 6 still has its left and right exchanged, and so on.
  if orientation in (3, 4, 7, 8):
    pixels = pixels[::-1]
  if orientation in (2, 3, 6, 7):
    pixels = pixels[:, ::-1]
  return pixels
