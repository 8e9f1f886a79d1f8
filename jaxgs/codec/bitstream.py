"""The `.jgs` container: magic, version, checked sections; and its byte reader.

Layout (all multi-byte integers little-endian):

  magic      4 bytes, 0x89 'J' 'G' 'S' (the first byte is not text)
  version    1 byte, 1
  sections   in the order of `SECTIONS`, each at most once:
    tag      1 byte
    length   varint, bytes of payload
    payload
    crc      4 bytes, CRC-32 (zlib's polynomial) of tag, length and payload

A varint has 7 bits per byte, lowest first, the high bit set on all bytes but
the last, and no superfluous zero bytes. CRC-32 and not CRC-32C, because it is
in the standard library, and as good at this length.
"""

import zlib

import numpy as np

MAGIC = b"\x89JGS"
VERSION = 1

# name -> (tag, may be missing). "maps" and "profile" are missing in a plain
# picture, "weight" when all weights are 0.
SECTIONS = {
  "header": (b"H", False),
  "maps": (b"M", True),
  "profile": (b"I", True),
  "position": (b"P", False),
  "shape": (b"S", False),
  "weight": (b"W", True),
  "feature": (b"F", False),
}

# Longer than any varint of the format needs (63 bits).
_VARINT_BYTES_MAX = 9


class BitstreamError(ValueError):
  """A stream is damaged, truncated, or not valid; says what and where."""


def encode_varint(value: int) -> bytes:
  """Returns a non-negative integer below 2**63 as a varint."""
  if not 0 <= value < 1 << 63:
    raise ValueError(f"varint: got {value}, want 0 <= value < 2**63")
  out = bytearray()
  while value >= 0x80:
    out.append(value & 0x7F | 0x80)
    value >>= 7
  out.append(value)
  return bytes(out)


def encode_signed_varint(value: int) -> bytes:
  """Returns an integer in (-2**62, 2**62) as a zigzag varint."""
  return encode_varint(value << 1 if value >= 0 else (-value << 1) - 1)


class ByteReader:
  """Reads a payload from front to back and never beyond its end.

  Attributes:
    data: the payload.
    name: section name, used in errors.
    offset: next byte to read, relative to the payload.
  """

  def __init__(self, data: bytes, name: str):
    self.data = data
    self.name = name
    self.offset = 0

  @property
  def remaining(self) -> int:
    """Number of bytes not read yet."""
    return len(self.data) - self.offset

  def error(self, message: str) -> BitstreamError:
    """Returns an error that names the section and the offset in it."""
    return BitstreamError(f"section {self.name}, byte {self.offset}: {message}")

  def take(self, count: int, what: str) -> bytes:
    """Returns the next `count` bytes; raises BitstreamError at the end."""
    if count > self.remaining:
      raise self.error(f"{what} needs {count} bytes, {self.remaining} are left")
    self.offset += count
    return self.data[self.offset - count : self.offset]

  def byte(self, what: str) -> int:
    """Returns the next byte as an integer."""
    return self.take(1, what)[0]

  def varint(self, what: str, low: int = 0, high: int = (1 << 63) - 1) -> int:
    """Returns a varint; raises BitstreamError outside [low, high]."""
    value = 0
    for i in range(_VARINT_BYTES_MAX):
      byte = self.byte(what)
      value |= (byte & 0x7F) << (7 * i)
      if byte < 0x80:
        if i and not byte:
          raise self.error(f"{what} is not in its shortest form")
        if not low <= value <= high:
          raise self.error(f"{what} is {value}, want {low}..{high}")
        return value
    raise self.error(f"{what} is longer than {_VARINT_BYTES_MAX} bytes")

  def signed_varint(self, what: str, limit: int) -> int:
    """Returns a zigzag varint in [-limit, limit]."""
    value = self.varint(what, 0, 2 * limit)
    return -((value + 1) >> 1) if value & 1 else value >> 1

  def finish(self) -> None:
    """Raises BitstreamError if bytes are left over."""
    if self.remaining:
      raise self.error(f"{self.remaining} bytes too many")


def pack_bits(values: np.ndarray, widths: np.ndarray) -> bytes:
  """Packs integers of given widths, lowest bit first, without gaps.

  Args:
    values: int64 `(S,)`, `0 <= values < 2**widths`.
    widths: int64 `(S,)` in 0..62.

  Returns:
    `ceil(sum(widths) / 8)` bytes; unused high bits of the last byte are 0.
  """
  starts = np.cumsum(widths) - widths
  bits = np.zeros(int(widths.sum()), np.uint8)
  for k in range(int(widths.max(initial=0))):
    has = widths > k
    bits[starts[has] + k] = (values[has] >> np.int64(k)) & 1
  return np.packbits(bits, bitorder="little").tobytes()


def unpack_bits(reader: ByteReader, widths: np.ndarray) -> np.ndarray:
  """Reads what `pack_bits` wrote.

  Args:
    reader: stands at the first packed byte; moved behind the last.
    widths: int64 `(S,)` in 0..62.

  Returns:
    int64 `(S,)`.

  Raises:
    BitstreamError: the payload is too short, or an unused bit is set.
  """
  total = int(widths.sum())
  data = reader.take((total + 7) // 8, "raw bits")
  bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
  if bits[total:].any():
    raise reader.error("an unused bit is set")
  starts = np.cumsum(widths) - widths
  values = np.zeros(widths.shape, np.int64)
  for k in range(int(widths.max(initial=0))):
    has = widths > k
    values[has] |= bits[starts[has] + k].astype(np.int64) << np.int64(k)
  return values


def write_sections(payloads: dict[str, bytes]) -> bytes:
  """Returns a file of the given sections.

  Args:
    payloads: section name -> payload; every name of `SECTIONS` but those that
      may be missing.
  """
  out = [MAGIC, bytes([VERSION])]
  for name, (tag, _) in SECTIONS.items():
    if name in payloads:
      body = tag + encode_varint(len(payloads[name])) + payloads[name]
      out += [body, zlib.crc32(body).to_bytes(4, "little")]
  return b"".join(out)


def read_sections(data: bytes) -> dict[str, bytes]:
  """Splits a file into checked sections.

  Args:
    data: the whole file.

  Returns:
    Section name -> payload, in the order of the file.

  Raises:
    BitstreamError: wrong magic or version, truncation, a wrong checksum, an
      unknown, repeated, misplaced or missing section, or trailing bytes.
  """
  reader = ByteReader(data, "container")
  if reader.take(min(len(MAGIC), len(data)), "magic") != MAGIC:
    raise BitstreamError("byte 0: not a .jgs file (wrong magic)")
  version = reader.byte("version")
  if version != VERSION:
    raise BitstreamError(
      f"byte {len(MAGIC)}: version {version} is not supported, want {VERSION}"
    )
  names = {tag: name for name, (tag, _) in SECTIONS.items()}
  order = list(SECTIONS)
  payloads: dict[str, bytes] = {}
  last = -1
  while reader.remaining:
    if last == len(order) - 1:
      raise reader.error(f"{reader.remaining} trailing bytes")
    start = reader.offset
    tag = reader.take(1, "section tag")
    if tag not in names:
      raise reader.error(f"unknown section tag {tag!r}")
    name = names[tag]
    if name in payloads:
      raise reader.error(f"section {name} appears twice")
    if order.index(name) < last:
      raise reader.error(f"section {name} comes after {order[last]}")
    last = order.index(name)
    length = reader.varint(f"length of section {name}")
    payloads[name] = reader.take(length, f"section {name}")
    found = zlib.crc32(data[start : reader.offset])
    if found != int.from_bytes(reader.take(4, f"checksum of {name}"), "little"):
      raise reader.error(f"checksum of section {name} does not match")
  for name, (_, optional) in SECTIONS.items():
    if not optional and name not in payloads:
      raise reader.error(f"section {name} is missing")
  return payloads
