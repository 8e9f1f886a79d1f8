"""Radiance HDR (RGBE): 8 bits per colour and a shared exponent.

The header is read here, imagecodecs has the run lengths. The layout is that of
Radiance's "File Formats", section "Picture File Format (.hdr)".
"""

import os
import re

import numpy as np

from jaxgs.io.decoded import Decoded, check_size
from jaxgs.io.files import ImageError

_SIZE = re.compile(rb"([+-])([XY]) +(\d{1,9}) +([+-])([XY]) +(\d{1,9})")
# Far more than any program writes.
_MAX_HEADER_BYTES = 1 << 16


def decode_radiance(path: str | os.PathLike, data: bytes) -> Decoded:
  """Decodes a Radiance file; the EXPOSURE of its header is not undone."""
  import imagecodecs

  end = data.find(b"\n\n", 0, _MAX_HEADER_BYTES)
  line_end = data.find(b"\n", end + 2, _MAX_HEADER_BYTES)
  if min(end, line_end) < 0:
    raise ImageError(path, "truncated or damaged HDR: no end of the header")
  layout = re.search(rb"^FORMAT=(.*)$", data[:end], re.MULTILINE)
  layout = layout[1].strip() if layout else b"32-bit_rle_rgbe"
  if layout != b"32-bit_rle_rgbe":
    text = layout.decode("ascii", "replace")
    raise ImageError(path, f"HDR of format {text[:40]!r} is not supported")
  sides = _SIZE.fullmatch(data[end + 2 : line_end].strip())
  if sides is None or sides[2] == sides[5]:
    raise ImageError(path, "truncated or damaged HDR: no size")
  rows, columns = int(sides[3]), int(sides[6])
  lying = sides[2] == b"X"
  check_size(path, *((rows, columns) if lying else (columns, rows)))
  body = data[line_end + 1 :]
  # How a row begins that is coded in runs, 8 to 32767 pixels long.
  mark = b"\2\2" + columns.to_bytes(4, "big")[2:]
  in_runs = 8 <= columns <= 32767 and body.startswith(mark)
  # A pixel of 4 bytes; or 4 runs of up to 127 bytes each, in 2 bytes.
  least = rows * (4 + 8 * (columns // 128)) if in_runs else rows * columns * 4
  if len(body) < least:
    # Radiance before 1991 had runs of other kind, without a mark.
    raise ImageError(path, "truncated HDR")
  samples = np.empty((rows, columns, 3), np.float32)
  imagecodecs.rgbe_decode(body, header=False, rle=in_runs, out=samples)
  if lying:
    samples = samples.swapaxes(0, 1)
  # -Y: the first row is the top; +X: the first column is the left.
  signs = {sides[2]: sides[1], sides[5]: sides[4]}
  samples = samples[:: 1 if signs[b"Y"] == b"-" else -1]
  samples = samples[:, :: 1 if signs[b"X"] == b"+" else -1]
  return Decoded(samples, 1, "float")


def encode_radiance(pixels: np.ndarray) -> bytes:
  """Encodes (H, W, 3) floats, not negative, each to the nearest level."""
  import imagecodecs

  # The largest exponent that its byte holds, with the largest mantissa.
  pixels = np.minimum(pixels, np.ldexp(np.float32(255 / 256), 127))
  height, width, _ = pixels.shape
  # The mantissa of the brightest colour is 128 to 255, and one step more in
  # the next exponent. imagecodecs cuts off; what it gets has no rest.
  peak = pixels.max(axis=2, keepdims=True)
  _, exponent = np.frexp(peak)
  exponent += np.rint(np.ldexp(peak, 8 - exponent)) == 256
  pixels = np.ldexp(np.rint(np.ldexp(pixels, 8 - exponent)), exponent - 8)
  head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n"
  # Rows of other lengths have no runs.
  in_runs = 8 <= width <= 32767
  # Where nothing repeats, each run of up to 128 has a byte before it; the
  # space that imagecodecs takes by itself has no room for them.
  space = height * (4 + 4 * (width + width // 64 + 2))
  body = imagecodecs.rgbe_encode(pixels, header=False, rle=in_runs, out=space)
  return head.encode() + body
