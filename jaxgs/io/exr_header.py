"""The header of an OpenEXR file, read and checked before its pixels.

OpenEXR's own module writes to stderr about a file that is cut short, and
allocates what a header asks for. So what the file is, and whether all of its
chunks are there, is found out here. The layout is that of "The OpenEXR File
Layout" at openexr.com.
"""

import os
import struct
from typing import NamedTuple

from jaxgs.io.decoded import MAX_PIXELS, MAX_SIDE_PX, check_size
from jaxgs.io.files import ImageError

_TILED, _DEEP, _MULTI_PART = 0x200, 0x800, 0x1000
# All channels of a part: room for the layers of a renderer.
_MAX_SAMPLES = 8 * MAX_PIXELS
_MAX_NAME_BYTES = 255
# OpenEXR makes room for whole tiles, whatever the size of the picture.
_MAX_TILE_PX = 1 << 26


class Channel(NamedTuple):
  """How a channel is stored: "uint", "half" or "float"; pixels per sample."""

  kind: str
  x_step: int
  y_step: int


class Part(NamedTuple):
  """A picture in the file.

  Attributes:
    channels: by name.
    height: rows of the pixels that are stored (the data window).
    width: their columns.
    tiled: in tiles, not rows.
    chromaticities: x, y of red, green, blue and white, None if not told.
  """

  channels: dict[str, Channel]
  height: int
  width: int
  tiled: bool
  chromaticities: tuple[float, ...] | None


def read_parts(path: str | os.PathLike, data: bytes) -> list[Part]:
  """Reads the headers, and looks for every chunk of pixels.

  Args:
    path: for messages.
    data: the file.

  Returns:
    Its parts, at least one.

  Raises:
    ImageError: truncated, deep, too large.
    ValueError, struct.error: damaged.
  """
  (flags,) = struct.unpack_from("<I", data, 4)
  if flags & _DEEP:
    raise ImageError(path, "deep OpenEXR images are not supported")
  position = 8
  parts = []
  while flags & _MULTI_PART or not parts:
    attributes, position = _read_attributes(data, position)
    if not attributes:  # The end of several parts.
      break
    parts.append(_part_of(path, attributes, bool(flags & _TILED)))
  if not parts:
    raise ValueError("no parts")
  _check_chunks(path, data, position, parts, bool(flags & _MULTI_PART))
  return parts


def _read_text(data: bytes, position: int) -> tuple[str, int]:
  """A text that ends with a zero, and where the next thing begins."""
  end = data.find(b"\0", position, position + _MAX_NAME_BYTES + 1)
  if end < 0:
    raise ValueError("a name without end")
  return data[position:end].decode(), end + 1


def _read_attributes(
  data: bytes, position: int
) -> tuple[dict[str, bytes], int]:
  """Values by name, up to the empty name, and where that ends."""
  attributes = {}
  while True:
    name, position = _read_text(data, position)
    if not name:
      return attributes, position
    _, position = _read_text(data, position)
    (size,) = struct.unpack_from("<i", data, position)
    position += 4
    if not 0 <= size <= len(data) - position:
      raise ValueError(f"attribute {name} of {size} bytes")
    attributes[name] = data[position : position + size]
    position += size


def _part_of(
  path: str | os.PathLike, attributes: dict[str, bytes], tiled: bool
) -> Part:
  # The type is there in files of several parts; else the flags tell.
  kind = attributes.get("type", b"")
  if kind.startswith(b"deep"):
    raise ImageError(path, "deep OpenEXR images are not supported")
  for name in ("channels", "dataWindow"):
    if name not in attributes:
      raise ValueError(f"no attribute {name}")
  left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
  height, width = bottom - top + 1, right - left + 1
  check_size(path, width, height)
  tiled = kind == b"tiledimage" if kind else tiled
  if tiled:
    if "tiles" not in attributes:
      raise ValueError("no attribute tiles")
    tile = struct.unpack_from("<II", attributes["tiles"])
    fits = 1 <= min(tile) <= max(tile) <= MAX_SIDE_PX
    if not fits or tile[0] * tile[1] > _MAX_TILE_PX:
      raise ValueError(f"tiles of {tile[0]}x{tile[1]}")
  chromaticities = attributes.get("chromaticities")
  if chromaticities is not None:
    chromaticities = struct.unpack("<8f", chromaticities)
  channels = _read_channels(attributes["channels"])
  if height * width * len(channels) > _MAX_SAMPLES:
    raise ImageError(
      path, f"{len(channels)} channels of {width}x{height} are too many"
    )
  return Part(channels, height, width, tiled, chromaticities)


def _read_channels(data: bytes) -> dict[str, Channel]:
  channels = {}
  position = 0
  while True:
    name, position = _read_text(data, position)
    if not name:
      return channels
    kind, x_step, y_step = struct.unpack_from("<i4x2i", data, position)
    position += 16
    if kind not in (0, 1, 2) or min(x_step, y_step) < 1:
      raise ValueError(f"channel {name} of type {kind}, {x_step}x{y_step}")
    channels[name] = Channel(("uint", "half", "float")[kind], x_step, y_step)


def _check_chunks(
  path: str | os.PathLike,
  data: bytes,
  start: int,
  parts: list[Part],
  multi_part: bool,
) -> None:
  """Follows the tables of chunks, which end where the first chunk begins."""
  first = len(data)
  position = start
  while position < first:
    if position + 8 > len(data):
      raise ImageError(path, "truncated OpenEXR")
    (offset,) = struct.unpack_from("<Q", data, position)
    position += 8
    # A writer fills the table in the end: zeros are of one that was stopped.
    if not start < offset <= len(data) - 8:
      raise ImageError(path, "truncated OpenEXR")
    first = min(first, offset)
    part = 0
    if multi_part:
      (part,) = struct.unpack_from("<i", data, offset)
      offset += 4
      if not 0 <= part < len(parts):
        raise ValueError(f"a chunk of part {part}")
    # Before the size: where the tile or the first row lies.
    offset += 16 if parts[part].tiled else 4
    if offset + 4 > len(data):
      raise ImageError(path, "truncated OpenEXR")
    (size,) = struct.unpack_from("<i", data, offset)
    if size < 0 or offset + 4 + size > len(data):
      raise ImageError(path, "truncated OpenEXR")
  if first == len(data):
    raise ImageError(path, "truncated OpenEXR")
