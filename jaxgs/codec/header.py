"""The header of a `.jgs` file: plain integers, validated, canonical bytes."""

import dataclasses

from jaxgs.codec.bitstream import BitstreamError, ByteReader, encode_varint
from jaxgs.codec.lattice import Lattice
from jaxgs.codec.maps import (
  Map,
  color_triples,
  decode_maps,
  decode_profile,
  encode_maps,
  encode_profile,
  validate_maps,
)
from jaxgs.codec.rans import LANES_MAX

SIZE_MAX = 65536  # Height and width.
PIXELS_MAX = 1 << 28  # Height times width: 3.2 GB of float32 RGB.
CHANNELS_MAX = 64
GAUSSIANS_MAX = 1 << 24
TOP_K_MAX = 255
CUTOFF_MAX = 65535  # 1/256 nat.
EPSILON_MAX = (1 << 32) - 1  # 2**-24.
GAMMA_ONE = 1024  # The stored value of gamma = 1.
GAMMA_MAX = 65535
SCALE_STEP_MAX = 4 * 65535
POSITION_PRECISION_MAX = 4096
ANGLE_PRECISION_MAX = 65535
VALUE_STEP_MAX = 1 << 20  # 16 nat, or 16 times the range of the image.
POWER_MAX = 255  # 1/256.

# Index = code in the stream.
BIT_DEPTHS = (8, 16, 32)  # 32 is reserved for floats.
BLENDS = ("norm", "sum")
EDGES = ("smooth", "sharp")
COLOR_TRANSFORMS = ("none", "ycocg")

_POWERS = ("geometry_power", "feature_power", "feature_weight_power")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
  """What a decoder must know besides the splats.

  Attributes:
    height: pixels, 1..SIZE_MAX; `height * width <= PIXELS_MAX`.
    width: pixels, 1..SIZE_MAX.
    channels: C, 1..CHANNELS_MAX.
    bit_depth: of the source image, 8 or 16 (32 is reserved).
    blend: "norm" or "sum".
    top_k: splats blended per pixel, 0 for all, 0..TOP_K_MAX.
    cutoff: the support ends at `exp(-cutoff / 256)`, 1..CUTOFF_MAX.
    edge: "smooth" (that value is subtracted from the weights) or "sharp".
    epsilon: of the normalised blend, in 2**-24, 0..EPSILON_MAX.
    num_gaussians: N, 1..GAUSSIANS_MAX.
    color_transform: "none", or "ycocg" of the first three channels.
    has_alpha: the last channel is alpha.
    gamma: exponent of the stored values in 1/1024, 1..GAMMA_MAX.
    lanes: of the entropy coder; 0 lets the format choose by the number of
      symbols (`rans.default_lanes`), else 1..LANES_MAX.
    lattice: the steps; `feature_step` has C entries.
    maps: what the channels are, if it takes more to say than `bit_depth`,
      `color_transform` and `has_alpha`, which are then 8, "none" and False.
      Together they have C channels. A section of its own.
    icc: the colour profile, empty for none. A section of its own.
  """

  height: int
  width: int
  channels: int
  num_gaussians: int
  lattice: Lattice
  bit_depth: int = 8
  blend: str = "norm"
  top_k: int = 0
  cutoff: int = 9 * 256
  edge: str = "smooth"
  epsilon: int = 0
  color_transform: str = "none"
  has_alpha: bool = False
  gamma: int = GAMMA_ONE
  lanes: int = 0
  maps: tuple[Map, ...] = ()
  icc: bytes = b""

  @property
  def pictures(self) -> tuple[Map, ...]:
    """The maps; that of a plain picture if there are none."""
    return self.maps or (
      Map(
        channels=self.channels,
        bit_depth=self.bit_depth,
        alpha="straight" if self.has_alpha else "none",
        color_transform=self.color_transform,
      ),
    )

  @property
  def is_stack(self) -> bool:
    """Whether the file holds named maps, not one picture."""
    return bool(self.maps and self.maps[0].name)

  @property
  def transform(self) -> tuple[int, ...]:
    """The first channels of the triples that are in YCoCg."""
    return color_triples(self.pictures)


def validate_header(header: Header) -> None:
  """Raises BitstreamError, with the field's name, if a field is not valid."""
  lattice = header.lattice
  ranges = [
    ("height", header.height, 1, SIZE_MAX),
    ("width", header.width, 1, SIZE_MAX),
    ("channels", header.channels, 1, CHANNELS_MAX),
    ("num_gaussians", header.num_gaussians, 1, GAUSSIANS_MAX),
    ("top_k", header.top_k, 0, TOP_K_MAX),
    ("cutoff", header.cutoff, 1, CUTOFF_MAX),
    ("epsilon", header.epsilon, 0, EPSILON_MAX),
    ("gamma", header.gamma, 1, GAMMA_MAX),
    ("lanes", header.lanes, 0, LANES_MAX),
    ("scale_step", lattice.scale_step, 1, SCALE_STEP_MAX),
    (
      "position_precision",
      lattice.position_precision,
      0,
      POSITION_PRECISION_MAX,
    ),
    ("angle_precision", lattice.angle_precision, 1, ANGLE_PRECISION_MAX),
    ("weight_step", lattice.weight_step, 1, VALUE_STEP_MAX),
    *((name, getattr(lattice, name), 0, POWER_MAX) for name in _POWERS),
    ("aligned", lattice.aligned, 0, 1),
  ]
  for c, step in enumerate(lattice.feature_step):
    ranges.append((f"feature_step[{c}]", step, 1, VALUE_STEP_MAX))
  for name, value, low, high in ranges:
    if isinstance(value, bool) or not isinstance(value, int):
      raise BitstreamError(f"header {name}: got {value!r}, want an int")
    if not low <= value <= high:
      raise BitstreamError(f"header {name}: got {value}, want {low}..{high}")
  if header.height * header.width > PIXELS_MAX:
    raise BitstreamError(
      f"header height * width: got {header.height} * {header.width},"
      f" want at most {PIXELS_MAX}"
    )
  choices = [
    ("bit_depth", header.bit_depth, BIT_DEPTHS[:2]),
    ("blend", header.blend, BLENDS),
    ("edge", header.edge, EDGES),
    ("color_transform", header.color_transform, COLOR_TRANSFORMS),
    ("has_alpha", header.has_alpha, (False, True)),
  ]
  for name, value, allowed in choices:
    if value not in allowed:
      raise BitstreamError(f"header {name}: got {value!r}, want {allowed}")
  if not lattice.aligned and any(getattr(lattice, n) for n in _POWERS):
    raise BitstreamError("header: a lattice that adapts must be aligned")
  if len(lattice.feature_step) != header.channels:
    raise BitstreamError(
      f"header feature_step: got {len(lattice.feature_step)} entries, want"
      f" channels = {header.channels}"
    )
  num_colors = header.channels - header.has_alpha
  if header.color_transform == "ycocg" and num_colors < 3:
    raise BitstreamError(
      f"header color_transform: ycocg needs 3 colour channels, got {num_colors}"
    )
  if num_colors < 1:
    raise BitstreamError("header has_alpha: there is no other channel")
  if header.maps:
    if header.bit_depth != 8 or header.color_transform != "none":
      raise BitstreamError(
        "header: bit_depth and color_transform are the maps'"
      )
    if header.has_alpha:
      raise BitstreamError("header: has_alpha is the maps'")
    validate_maps(header.maps, header.channels)
  if header.icc:
    encode_profile(header.icc)


def encode_header(header: Header) -> bytes:
  """Returns the header section's payload.

  Flags in one byte: bits 0-1 bit depth, 2 blend, 3 colour transform, 4 alpha,
  5 gamma is present, 6 edge, 7 the lattice adapts to the splats: it is aligned,
  and its powers are present; then varints.

  Args:
    header: a valid header.

  Raises:
    BitstreamError: a field is not valid.
  """
  validate_header(header)
  lattice = header.lattice
  has_gamma = header.gamma != GAMMA_ONE
  powers = [getattr(lattice, name) for name in _POWERS]
  flags = (
    BIT_DEPTHS.index(header.bit_depth)
    | BLENDS.index(header.blend) << 2
    | COLOR_TRANSFORMS.index(header.color_transform) << 3
    | int(header.has_alpha) << 4
    | int(has_gamma) << 5
    | EDGES.index(header.edge) << 6
    | lattice.aligned << 7
  )
  values = [
    header.height,
    header.width,
    header.channels,
    header.num_gaussians,
    header.top_k,
    header.cutoff,
    header.epsilon,
    header.lanes,
    *([header.gamma] if has_gamma else []),
    lattice.scale_step,
    lattice.position_precision,
    lattice.angle_precision,
    lattice.weight_step,
    *lattice.feature_step,
    *(powers if lattice.aligned else []),
  ]
  return bytes([flags]) + b"".join(encode_varint(v) for v in values)


def decode_header(payload: bytes) -> Header:
  """Reads the header section's payload.

  Args:
    payload: what `encode_header` returned.

  Raises:
    BitstreamError: truncation, an invalid field, or bytes left over.
  """
  reader = ByteReader(payload, "header")
  flags = reader.byte("flags")
  if flags & 3 >= len(BIT_DEPTHS):
    raise reader.error(f"flags {flags:#x} are not known")
  height = reader.varint("height", 1, SIZE_MAX)
  width = reader.varint("width", 1, SIZE_MAX)
  channels = reader.varint("channels", 1, CHANNELS_MAX)
  num_gaussians = reader.varint("num_gaussians", 1, GAUSSIANS_MAX)
  top_k = reader.varint("top_k", 0, TOP_K_MAX)
  cutoff = reader.varint("cutoff", 1, CUTOFF_MAX)
  epsilon = reader.varint("epsilon", 0, EPSILON_MAX)
  lanes = reader.varint("lanes", 0, LANES_MAX)
  gamma = GAMMA_ONE
  if flags >> 5 & 1:
    gamma = reader.varint("gamma", 1, GAMMA_MAX)
    if gamma == GAMMA_ONE:
      raise reader.error("gamma is present though it is 1")
  lattice = Lattice(
    scale_step=reader.varint("scale_step", 1, SCALE_STEP_MAX),
    position_precision=reader.varint(
      "position_precision", 0, POSITION_PRECISION_MAX
    ),
    angle_precision=reader.varint("angle_precision", 1, ANGLE_PRECISION_MAX),
    weight_step=reader.varint("weight_step", 1, VALUE_STEP_MAX),
    feature_step=tuple(
      reader.varint(f"feature_step[{c}]", 1, VALUE_STEP_MAX)
      for c in range(channels)
    ),
    aligned=flags >> 7,
  )
  if lattice.aligned:
    powers = {name: reader.varint(name, 0, POWER_MAX) for name in _POWERS}
    lattice = lattice._replace(**powers)
  reader.finish()
  header = Header(
    height=height,
    width=width,
    channels=channels,
    num_gaussians=num_gaussians,
    lattice=lattice,
    bit_depth=BIT_DEPTHS[flags & 3],
    blend=BLENDS[flags >> 2 & 1],
    top_k=top_k,
    cutoff=cutoff,
    edge=EDGES[flags >> 6 & 1],
    epsilon=epsilon,
    color_transform=COLOR_TRANSFORMS[flags >> 3 & 1],
    has_alpha=bool(flags >> 4 & 1),
    gamma=gamma,
    lanes=lanes,
  )
  validate_header(header)
  return header


def encode_head(header: Header) -> dict[str, bytes]:
  """Returns the payloads of the sections before the splats, by name.

  Args:
    header: a valid header.

  Raises:
    BitstreamError: a field is not valid.
  """
  payloads = {"header": encode_header(header)}
  if header.maps:
    payloads["maps"] = encode_maps(header.maps)
  if header.icc:
    payloads["profile"] = encode_profile(header.icc)
  return payloads


def decode_head(payloads: dict[str, bytes]) -> Header:
  """Reads what `encode_head` returned, among other payloads.

  Raises:
    BitstreamError: a section is damaged, or they do not fit together.
  """
  header = decode_header(payloads["header"])
  if "maps" in payloads:
    maps = decode_maps(payloads["maps"], header.channels)
    header = dataclasses.replace(header, maps=maps)
    validate_header(header)
  if "profile" in payloads:
    icc = decode_profile(payloads["profile"])
    header = dataclasses.replace(header, icc=icc)
  return header
