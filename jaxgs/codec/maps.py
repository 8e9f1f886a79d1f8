"""What the channels of a `.jgs` file are: its maps, and its colour profile.

Both sections may be missing: a file without maps is one picture of integers,
as the header describes it.

  maps     count; per map two bytes of flags, varints and the name
  profile  size of the ICC profile, then its zlib stream
"""

import dataclasses
import unicodedata
import zlib

from jaxgs.codec.bitstream import (
  BitstreamError,
  ByteReader,
  encode_signed_varint,
  encode_varint,
)

NAME_MAX = 255  # Bytes of UTF-8, the most that file systems take.
PROFILE_MAX = 1 << 20  # Bytes of an ICC profile,
PROFILE_PACKED_MAX = 1 << 16  # and of its zlib stream.
OCTAVE = 64  # Parameters of curves are in 1/64 octave.
LEVEL_MAX = 127 * OCTAVE  # 2**127, in the range of float32.

# Index = code in the stream. Kind of the samples and their bits.
SAMPLES = (("integer", 8), ("integer", 16), ("half", 16), ("float", 32))
CURVES = ("none", "log", "pu")
ALPHAS = ("none", "straight", "premultiplied")
_TRANSFORMS = ("none", "ycocg")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Map:
  """Some channels of a file that are a picture of their own.

  Values are stored in [0, 1]: colours are multiplied by alpha if it is
  premultiplied, then go through the curve; alpha does not. "log" is
  v -> log(1 + v / s) / log(1 + p / s), "pu" the PU21 encoding of the luminance
  s v over that of s p (see `jaxgs.transfer`), with s = 2^(curve_scale / 64) and
  p = 2^(curve_peak / 64).

  Attributes:
    channels: C, alpha included, 1 or more.
    name: File name without its suffix; empty for the picture of a file that is
      no stack.
    sample: "integer", "half" or "float".
    bit_depth: 8 or 16 of integers, 16 of halves, 32 of floats.
    curve: "none", "log" or "pu"; integers have none.
    curve_scale: 1/64 octave, 0 without a curve.
    curve_peak: Likewise; of the largest value.
    alpha: "none", or what colours of the last channel's alpha are: "straight"
      or "premultiplied". Decoded colours are straight.
    color_transform: "none", or "ycocg" of the first three channels.
    is_normal: The first three channels are a normal map, 2 v - 1 of length 1,
      which a decoder restores.
  """

  channels: int
  name: str = ""
  sample: str = "integer"
  bit_depth: int = 8
  curve: str = "none"
  curve_scale: int = 0
  curve_peak: int = 0
  alpha: str = "none"
  color_transform: str = "none"
  is_normal: bool = False

  @property
  def has_alpha(self) -> bool:
    """Whether the last channel is alpha."""
    return self.alpha != "none"

  @property
  def num_colors(self) -> int:
    """Channels but alpha."""
    return self.channels - self.has_alpha


def is_plain(maps: tuple[Map, ...]) -> bool:
  """Whether a header can describe the maps without a section of their own."""
  first = maps[0]
  return (
    len(maps) == 1
    and not first.name
    and first.sample == "integer"
    and first.curve == "none"
    and first.alpha in ("none", "straight")
    and not first.is_normal
  )


def color_triples(maps: tuple[Map, ...]) -> tuple[int, ...]:
  """The first channels, in the file, of the triples that are in YCoCg."""
  triples, first = [], 0
  for one in maps:
    if one.color_transform == "ycocg":
      triples.append(first)
    first += one.channels
  return tuple(triples)


def name_fault(name: str) -> str | None:
  """What is wrong with the name of a map, if something is.

  Names become those of files, wherever the file is decoded.

  Args:
    name: Any text.

  Returns:
    The fault in a few words, or None.
  """
  try:
    size = len(name.encode())
  except UnicodeEncodeError:
    return "is not text"
  if not 1 <= size <= NAME_MAX:
    return f"has {size} bytes, want 1..{NAME_MAX}"
  if name.startswith("."):
    return "begins with a dot"
  # Controls, and format characters such as those that turn the direction.
  if any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in name):
    return "has a control character"
  if any(c in "/\\:" for c in name):
    return "has a slash, a backslash or a colon"
  if name != name.strip() or name.endswith("."):
    return "ends in a dot or has space around it"
  return None


def validate_maps(maps: tuple[Map, ...], channels: int) -> None:
  """Raises BitstreamError, with the map, if maps are not valid.

  Args:
    maps: One or more.
    channels: Of the file.
  """
  if sum(m.channels for m in maps) != channels:
    raise BitstreamError(
      f"maps: {[m.channels for m in maps]} channels, want {channels} in all"
    )
  if is_plain(maps):
    raise BitstreamError("maps: the header says all there is to say")
  for i, one in enumerate(maps):
    fault = _fault(one)
    if not fault and (one.name or len(maps) > 1):
      fault = name_fault(one.name)
      fault = fault and f"name {one.name!r} {fault}"
    if fault:
      raise BitstreamError(f"maps[{i}]: {fault}")
  seen = {}
  for i, one in enumerate(maps):
    # Some file systems tell neither case nor compositions apart.
    folded = unicodedata.normalize("NFC", one.name).casefold()
    if folded in seen:
      raise BitstreamError(
        f"maps[{i}]: name {one.name!r} is that of maps[{seen[folded]}]"
      )
    seen[folded] = i


def _fault(one: Map) -> str | None:
  if (one.sample, one.bit_depth) not in SAMPLES:
    return f"{one.sample} of {one.bit_depth} bits, want one of {SAMPLES}"
  choices = [
    ("curve", CURVES),
    ("alpha", ALPHAS),
    ("color_transform", _TRANSFORMS),
    ("is_normal", (False, True)),
  ]
  for name, allowed in choices:
    if getattr(one, name) not in allowed:
      return f"{name} is {getattr(one, name)!r}, want one of {allowed}"
  if one.num_colors < 1:
    return "alpha: there is no other channel"
  if one.color_transform == "ycocg" and one.num_colors < 3:
    return f"ycocg needs 3 colour channels, got {one.num_colors}"
  if one.is_normal and one.num_colors < 3:
    return f"a normal map needs 3 channels, got {one.num_colors}"
  if one.is_normal and one.curve != "none":
    return f"a normal map has no curve, got {one.curve!r}"
  return _curve_fault(one)


def _curve_fault(one: Map) -> str | None:
  scale, peak = one.curve_scale, one.curve_peak
  for level in (scale, peak):
    if isinstance(level, bool) or not isinstance(level, int):
      return f"parameters of the curve are {scale!r}, {peak!r}, want ints"
    if abs(level) > LEVEL_MAX:
      return f"a parameter of the curve is {level}, want +-{LEVEL_MAX}"
  if one.curve == "none":
    return (
      "curve_scale or curve_peak without a curve" if scale or peak else None
    )
  if one.sample == "integer":
    return f"integers have no curve, got {one.curve!r}"
  # What float32 can compute: log(1 + p / s), and luminances around those of
  # the PU21 encoding, 0.005 to 10000 cd/m^2.
  value, low, high = peak - scale, -24, 120
  if one.curve == "pu":
    value, low, high = peak + scale, -7, 14
  if not low * OCTAVE <= value <= high * OCTAVE:
    return (
      f"peak {peak} and scale {scale} of the curve do not fit: got {value},"
      f" want {low * OCTAVE}..{high * OCTAVE}"
    )
  return None


def encode_maps(maps: tuple[Map, ...]) -> bytes:
  """Returns the maps section's payload; the maps are valid.

  First byte of flags: bits 0-1 samples, 2-3 curve, 4-5 alpha. Second: bit 0
  colour transform, 1 normal map.
  """
  out = [encode_varint(len(maps))]
  for one in maps:
    out.append(
      bytes(
        [
          SAMPLES.index((one.sample, one.bit_depth))
          | CURVES.index(one.curve) << 2
          | ALPHAS.index(one.alpha) << 4,
          _TRANSFORMS.index(one.color_transform) | one.is_normal << 1,
        ]
      )
    )
    out.append(encode_varint(one.channels))
    if one.curve != "none":
      out += [
        encode_signed_varint(one.curve_scale),
        encode_signed_varint(one.curve_peak),
      ]
    name = one.name.encode()
    out += [encode_varint(len(name)), name]
  return b"".join(out)


def decode_maps(payload: bytes, channels: int) -> tuple[Map, ...]:
  """Reads the maps section's payload.

  Args:
    payload: what `encode_maps` returned.
    channels: Of the file.

  Raises:
    BitstreamError: truncation, an invalid field, or bytes left over.
  """
  reader = ByteReader(payload, "maps")
  count = reader.varint("number of maps", 1, channels)
  maps = tuple(_decode_map(reader, channels) for _ in range(count))
  reader.finish()
  try:
    validate_maps(maps, channels)
  except BitstreamError as error:
    raise BitstreamError(f"section {error}") from error
  return maps


def _decode_map(reader: ByteReader, channels: int) -> Map:
  flags, more = reader.byte("flags"), reader.byte("flags")
  curve, alpha = flags >> 2 & 3, flags >> 4 & 3
  if flags >> 6 or more >> 2 or max(curve, alpha) > 2:
    raise reader.error(f"flags {flags:#x}, {more:#x} are not known")
  sample, bit_depth = SAMPLES[flags & 3]
  count = reader.varint("channels", 1, channels)
  scale = peak = 0
  if curve:
    scale = reader.signed_varint("curve_scale", LEVEL_MAX)
    peak = reader.signed_varint("curve_peak", LEVEL_MAX)
  size = reader.varint("length of the name", 0, NAME_MAX)
  try:
    name = reader.take(size, "name").decode()
  except UnicodeDecodeError as error:
    raise reader.error("a name is not UTF-8") from error
  return Map(
    channels=count,
    name=name,
    sample=sample,
    bit_depth=bit_depth,
    curve=CURVES[curve],
    curve_scale=scale,
    curve_peak=peak,
    alpha=ALPHAS[alpha],
    color_transform=_TRANSFORMS[more & 1],
    is_normal=bool(more >> 1),
  )


def encode_profile(icc: bytes) -> bytes:
  """Returns the profile section's payload.

  Args:
    icc: An ICC profile, 1 to PROFILE_MAX bytes.

  Raises:
    BitstreamError: it is too large.
  """
  packed = zlib.compress(icc, 9) if 0 < len(icc) <= PROFILE_MAX else b""
  if not 0 < len(packed) <= PROFILE_PACKED_MAX:
    raise BitstreamError(
      f"profile of {len(icc)} bytes: want at most {PROFILE_MAX}, and"
      f" {PROFILE_PACKED_MAX} when packed"
    )
  return encode_varint(len(icc)) + packed


def decode_profile(payload: bytes) -> bytes:
  """Reads the profile section's payload.

  Args:
    payload: what `encode_profile` returned.

  Raises:
    BitstreamError: it is too large, not a whole zlib stream, or of another size
      than it says.
  """
  reader = ByteReader(payload, "profile")
  size = reader.varint("size", 1, PROFILE_MAX)
  if reader.remaining > PROFILE_PACKED_MAX:
    raise reader.error(f"{reader.remaining} bytes, want {PROFILE_PACKED_MAX}")
  stream = zlib.decompressobj()
  try:
    icc = stream.decompress(reader.take(reader.remaining, "profile"), size)
    # What may be left is the stream's checksum.
    rest = stream.decompress(stream.unconsumed_tail, 1)
  except zlib.error as error:
    raise reader.error(f"damaged: {error}") from error
  if len(icc) != size or rest or not stream.eof or stream.unused_data:
    raise reader.error(f"not {size} bytes of a profile")
  return icc
