"""PNG: through imagecodecs, which also has 16-bit RGB."""

import os
import struct
import zlib

import numpy as np

from jaxgs.io.decoded import Decoded, check_size
from jaxgs.io.files import ImageError
from jaxgs.io.orientation import read_orientation

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Far above the profiles of printers; a few bytes may inflate to gigabytes.
_MAX_PROFILE_BYTES = 1 << 24


def decode_png(path: str | os.PathLike, data: bytes) -> Decoded:
  """Decodes a PNG file that is whole."""
  import imagecodecs

  kept = [data[: len(_SIGNATURE)]]
  exif = b""
  icc = None
  position = len(_SIGNATURE)
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
      check_size(path, *struct.unpack_from(">II", body))
    elif kind == b"acTL" and struct.unpack_from(">I", body)[0] > 1:
      num_frames = struct.unpack_from(">I", body)[0]
      raise ImageError(path, f"animated: {num_frames} frames")
    elif kind == b"eXIf":
      exif = body
    elif kind == b"iCCP":
      icc = _inflate_profile(body)
    # Critical chunks and transparency. libpng prints on stderr about faults in
    # the others (colour profiles, mostly) and may act on some.
    if not kind[0] & 0x20 or kind == b"tRNS":
      kept.append(data[position:end])
    position = end
  samples = imagecodecs.png_decode(b"".join(kept))
  if samples.ndim == 2:
    samples = samples[..., None]
  return Decoded(
    samples,
    np.iinfo(samples.dtype).max,
    orientation=read_orientation(exif),
    icc=icc,
  )


def _inflate_profile(body: bytes) -> bytes | None:
  """The profile of an iCCP chunk: a name, a zero, the method 0, a stream."""
  _, _, packed = body.partition(b"\0")
  stream = zlib.decompressobj()
  # Damaged metadata is no reason to refuse a picture that is whole.
  try:
    profile = stream.decompress(packed[1:], _MAX_PROFILE_BYTES)
  except zlib.error:
    return None
  return profile if stream.eof else None


def encode_png(samples: np.ndarray, icc: bytes | None) -> bytes:
  """Encodes (H, W) or (H, W, C) uint8 or uint16."""
  import imagecodecs

  # Drawn pictures are smooth: what is left after the prediction repeats in
  # runs only. 12 ms instead of 100 at 768x512, and files 1 to 4 % larger.
  png = imagecodecs.PNG
  data = imagecodecs.png_encode(
    samples, strategy=png.STRATEGY.RLE, filter=png.FILTER.PAETH
  )
  if icc is None:
    return data
  body = b"iCCPICC profile\0\0" + zlib.compress(icc)
  chunk = struct.pack(">I", len(body) - 4) + body
  chunk += struct.pack(">I", zlib.crc32(body))
  # Behind IHDR: 4 bytes each of length, name and checksum, and 13.
  start = len(_SIGNATURE) + 25
  return data[:start] + chunk + data[start:]
