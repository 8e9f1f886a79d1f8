"""The fields of a splat set, and the whole file.

Splats are sorted along a Hilbert curve over cells (see `curve`). Sections:

  position  cell_bits (1 byte, plus 4); a column of the steps along the curve;
            and, packed in bits, the position inside the cell: per splat
            r = bits + cell_bits bits of ix, then of iy, with the bits of each
            axis (see `rules.frame`). If r < 0, a lattice step spans several
            cells, and the cell is the one of the low corner.
  shape     columns of major and ratio, then the angles
  weight    a column; the section is missing when all weights are 0
  feature   a column of C channels

Later columns use what earlier ones told: the nearest earlier splats predict
values, and local density, size and ratio choose tables.
"""

import numpy as np

from jaxgs.codec import curve
from jaxgs.codec.angles import decode_angles, encode_angles
from jaxgs.codec.bitstream import (
  BitstreamError,
  ByteReader,
  pack_bits,
  read_sections,
  unpack_bits,
  write_sections,
)
from jaxgs.codec.columns import (
  Context,
  decode_column,
  encode_column,
  no_context,
  rank_context,
)
from jaxgs.codec.header import (
  Header,
  decode_head,
  encode_head,
  validate_header,
)
from jaxgs.codec.limits import (
  SYMBOL_MAX,
  check_symbols,
  scale_fault,
  value_fault,
)
from jaxgs.codec.rules import (
  angle_levels,
  feature_eighths,
  position_bits,
  rules_of,
  scaled_steps,
  weight_steps,
)
from jaxgs.codec.symbols import Symbols
from jaxgs.codec.tables import fit_table

# A file of B bytes may hold at most VALUES_PER_BYTE * B + VALUES_FREE values,
# N * (C + 6) of them, so that a decoder's cost is bounded by what it is given.
# Real files hold about 2 values per byte.
VALUES_PER_BYTE = 64
VALUES_FREE = 1 << 17


def encode(header: Header, symbols: Symbols) -> bytes:
  """Returns the `.jgs` file of a splat set.

  Args:
    header: a valid header.
    symbols: integer arrays of N splats on the header's lattice, in any order.

  Returns:
    The bytes; splats are in canonical order, see `order`.

  Raises:
    BitstreamError: a header field is not valid.
    ValueError: a symbol has a wrong shape or is out of range, or the set is so
      repetitive that its file would exceed the format's limit of values per
      byte (more than 13000 splats at about 1 bit each).
  """
  payloads = encode_head(header)
  fields = check_symbols(header, symbols)
  place, cell_bits = _choose_cells(header, fields)
  rank = _rank(fields, place)
  fields = Symbols(*(np.ascontiguousarray(f[rank]) for f in fields))
  payloads["position"], cell = _encode_position(
    header, fields, place[rank], cell_bits
  )
  payloads.update(_encode_rest(header, fields, cell))
  data = write_sections(payloads)
  if _num_values(header) > VALUES_PER_BYTE * len(data) + VALUES_FREE:
    raise ValueError(
      f"symbols: {header.num_gaussians} splats in {len(data)} bytes exceed"
      " the format's limit of values per byte"
    )
  return data


def order(header: Header, symbols: Symbols) -> np.ndarray:
  """Returns the permutation that sorts splats as a file does.

  Args:
    header: a valid header.
    symbols: integer arrays of N splats.

  Returns:
    int64 `(N,)`; `decode(encode(header, symbols))` gives the splats
    `symbols[order]`.

  Raises:
    BitstreamError: a header field is not valid.
    ValueError: a symbol has a wrong shape or is out of range.
  """
  validate_header(header)
  fields = check_symbols(header, symbols)
  return _rank(fields, _choose_cells(header, fields)[0])


def decode(data: bytes) -> tuple[Header, Symbols]:
  """Reads a `.jgs` file.

  Args:
    data: the whole file.

  Returns:
    The header, and the splats as int32 numpy arrays in the file's order.

  Raises:
    BitstreamError: the file is damaged, truncated or not valid.
  """
  header, symbols, _ = _decode(data)
  return header, symbols


def section_sizes(data: bytes) -> dict[str, int]:
  """Returns the bytes of each part of a `.jgs` file.

  Args:
    data: the whole file.

  Returns:
    "container" (magic, version, section frames and checksums), "header",
    "position", "scale", "angle", "weight", "feature", and "maps" and "profile"
    if the file has them; the sum is `len(data)`.

  Raises:
    BitstreamError: the file is damaged, truncated or not valid.
  """
  return _decode(data)[2]


def _num_values(header: Header) -> int:
  return header.num_gaussians * (header.channels + 6)


def _grid(header: Header, cell_bits: int) -> tuple[int, int]:
  return (
    curve.num_cells(header.width, cell_bits),
    curve.num_cells(header.height, cell_bits),
  )


def _choose_cells(header: Header, fields: Symbols) -> tuple[np.ndarray, int]:
  """Returns the places on the curve, and the cell size with the least bits."""
  bits = _position_bits(header, fields.scale, fields.angle)
  area = header.height * header.width // header.num_gaussians
  # From about one splat per cell to one in 64.
  start = max(area.bit_length() - 1, 0) >> 1
  best_bits, best = float("inf"), None
  for offset in range(4):
    cell_bits = min(
      max(start - offset, curve.CELL_BITS_MIN), curve.CELL_BITS_MAX
    )
    cell = curve.cell_of(fields.position, bits, cell_bits)
    place = curve.encode_curve(cell, _grid(header, cell_bits))
    step = np.diff(np.sort(place), prepend=0)
    total = fit_table(step)[1] + int(np.maximum(bits + cell_bits, 0).sum())
    if total < best_bits:
      best_bits, best = total, (place, cell_bits)
  return best


def _position_bits(
  header: Header, scale: np.ndarray, angle: np.ndarray
) -> np.ndarray:
  return position_bits(rules_of(header.lattice), scale, angle)


def _angle_levels(header: Header, scale: np.ndarray) -> np.ndarray:
  return angle_levels(rules_of(header.lattice), scale).astype(np.int64)


def _rank(fields: Symbols, place: np.ndarray) -> np.ndarray:
  """Returns the canonical order: the curve, then every field in turn."""
  keys = [
    place,
    *fields.position.T[::-1],
    *fields.scale.T,
    fields.angle,
    fields.weight,
    *fields.feature.T,
  ]
  return np.lexsort(keys[::-1])


def _chain(n: int) -> np.ndarray:
  """Returns the splats before each, for what precedes the cells."""
  index = np.arange(n, dtype=np.int64)[:, None] - np.arange(
    1, curve.NUM_NEIGHBOURS + 1
  )
  return np.maximum(index, 0)


def _encode_position(
  header: Header, fields: Symbols, place: np.ndarray, cell_bits: int
) -> tuple[bytes, np.ndarray]:
  """Returns the position section and the cells; arguments in file order."""
  n = header.num_gaussians
  step = np.diff(place, prepend=0)[:, None]
  payload = bytes([cell_bits - curve.CELL_BITS_MIN])
  payload += encode_column(step, _chain(n), [no_context(n)], header.lanes)
  bits = _position_bits(header, fields.scale, fields.angle)
  width = np.maximum(bits + cell_bits, 0)
  rest = fields.position & ((np.int64(1) << width) - 1)
  payload += pack_bits(rest.ravel(), width.ravel())
  return payload, curve.cell_of(fields.position, bits, cell_bits)


def _decode_cells(header: Header, reader: ByteReader) -> tuple[np.ndarray, int]:
  """Returns the cells in file order and cell_bits."""
  n = header.num_gaussians
  cell_bits = reader.byte("cell_bits") + curve.CELL_BITS_MIN
  if cell_bits > curve.CELL_BITS_MAX:
    raise reader.error(f"cell_bits {cell_bits} is not known")
  step = decode_column(reader, _chain(n), [no_context(n)], 1, header.lanes)
  step = step[:, 0]
  grid = _grid(header, cell_bits)
  side = 1 << (min(grid) - 1).bit_length()
  places = side * side * -(-max(grid) // side)
  # Each step is bounded first, so that the sum of 2**24 cannot overflow.
  if ((step < 0) | (step >= places)).any():
    raise reader.error("a step along the curve is out of range")
  place = np.cumsum(step)
  if place[-1] >= places:
    raise reader.error("the curve ends before the last splat")
  cell = curve.decode_curve(place, grid)
  if (cell >= np.array(grid)).any():
    raise reader.error("a cell is outside the image")
  return cell, cell_bits


def _decode_rest_of_position(
  header: Header,
  reader: ByteReader,
  cell: np.ndarray,
  cell_bits: int,
  scale: np.ndarray,
  angle: np.ndarray,
) -> np.ndarray:
  """Returns positions, once shapes are known."""
  r = _position_bits(header, scale, angle) + cell_bits
  width, excess = np.maximum(r, 0), np.maximum(-r, 0)
  if (cell & ((np.int64(1) << excess) - 1)).any():
    raise reader.error("a cell does not lie on its splat's lattice")
  rest = unpack_bits(reader, width.ravel()).reshape(-1, 2)
  reader.finish()
  return ((cell >> excess) << width) | rest


def _contexts(cell: np.ndarray) -> tuple[np.ndarray, list[Context]]:
  """Returns neighbours, and the contexts that the cells give."""
  near, spread = curve.neighbours(cell)
  return near, [
    no_context(len(cell)),
    rank_context(spread, 2),
    rank_context(spread, 4),
  ]


def _encode_rest(
  header: Header, fields: Symbols, cell: np.ndarray
) -> dict[str, bytes]:
  """Returns the sections after the position; fields in file order."""
  near, by_cell = _contexts(cell)
  lanes = header.lanes
  major, ratio = fields.scale[:, :1], fields.scale[:, 1:]
  by_major = [rank_context(major[:, 0], k) for k in (2, 4)]
  by_ratio = [rank_context(ratio[:, 0], k) for k in (2, 4)]
  shape = encode_column(major, near, by_cell, lanes)
  shape += encode_column(ratio, near, by_cell + by_major, lanes)
  levels = _angle_levels(header, fields.scale)
  shape += encode_angles(
    fields.angle, levels, near, by_cell[:1] + by_ratio, lanes
  )
  contexts = by_cell + by_major + by_ratio + _by_area(header, fields.scale)
  payloads = {"shape": shape}
  if fields.weight.any():
    payloads["weight"] = encode_column(
      fields.weight[:, None],
      near,
      contexts,
      lanes,
      _weight_steps(header, fields.scale),
    )
  payloads["feature"] = encode_column(
    fields.feature,
    near,
    contexts,
    lanes,
    _feature_steps(header, fields.scale, fields.weight),
  )
  return payloads


def _by_area(header: Header, scale: np.ndarray) -> list[Context]:
  """Returns the contexts that matter where steps depend on the area."""
  if not header.lattice.aligned:
    return []
  area = 2 * scale[:, 0] - scale[:, 1]
  return [rank_context(area, k) for k in (2, 4, 8)]


def _weight_steps(header: Header, scale: np.ndarray) -> np.ndarray | None:
  """Returns the steps of weights, `(1, N)`, or None where they are equal."""
  if not header.lattice.aligned:
    return None
  return weight_steps(rules_of(header.lattice), scale)[None].astype(np.int64)


def _feature_steps(
  header: Header, scale: np.ndarray, weight: np.ndarray
) -> np.ndarray | None:
  """Returns the steps of features, `(C, N)`, or None where they are equal."""
  lattice = header.lattice
  if not lattice.aligned:
    return None
  rules = rules_of(lattice)
  row = feature_eighths(rules, scale, weight * weight_steps(rules, scale))
  table = [scaled_steps(step) for step in lattice.feature_step]
  return np.stack(table).astype(np.int64)[:, row]


def _decode(data: bytes) -> tuple[Header, Symbols, dict[str, int]]:
  """Returns header, symbols and the bytes of each part."""
  payloads = read_sections(data)
  header = decode_head(payloads)
  if _num_values(header) > VALUES_PER_BYTE * len(data) + VALUES_FREE:
    raise BitstreamError(
      f"section header: {header.num_gaussians} splats of {header.channels}"
      f" channels are too many for a file of {len(data)} bytes"
    )
  lanes = header.lanes
  readers = {name: ByteReader(p, name) for name, p in payloads.items()}
  position, shape = readers["position"], readers["shape"]
  cell, cell_bits = _decode_cells(header, position)
  near, by_cell = _contexts(cell)
  major = decode_column(shape, near, by_cell, 1, lanes)
  by_major = [rank_context(major[:, 0], k) for k in (2, 4)]
  ratio = decode_column(shape, near, by_cell + by_major, 1, lanes)
  by_ratio = [rank_context(ratio[:, 0], k) for k in (2, 4)]
  scale = np.concatenate([major, ratio], axis=1)
  fault = scale_fault(header, scale)
  if fault:
    raise shape.error(fault)
  scale_size = shape.offset
  levels = _angle_levels(header, scale)
  angle = decode_angles(shape, levels, near, by_cell[:1] + by_ratio, lanes)
  shape.finish()
  points = _decode_rest_of_position(
    header, position, cell, cell_bits, scale, angle
  )
  contexts = by_cell + by_major + by_ratio + _by_area(header, scale)
  weight = np.zeros(header.num_gaussians, np.int64)
  if "weight" in readers:
    steps = _weight_steps(header, scale)
    weight = decode_column(readers["weight"], near, contexts, 1, lanes, steps)
    weight = weight[:, 0]
    readers["weight"].finish()
    if (np.abs(weight) > SYMBOL_MAX).any():
      raise readers["weight"].error("a weight is out of range")
  feature = decode_column(
    readers["feature"],
    near,
    contexts,
    header.channels,
    lanes,
    _feature_steps(header, scale, weight),
  )
  readers["feature"].finish()
  fields = Symbols(points, scale, angle, weight, feature)
  fault = value_fault(header, fields)
  if fault:
    raise BitstreamError(f"field {fault}")
  sizes = {name: len(p) for name, p in payloads.items()}
  sizes |= {"scale": scale_size, "angle": sizes.pop("shape") - scale_size}
  sizes["container"] = len(data) - sum(sizes.values())
  names = ("container", "header", "position", "scale", "angle")
  parts = {k: sizes.get(k, 0) for k in (*names, "weight", "feature")}
  parts |= {k: v for k, v in sizes.items() if k in ("maps", "profile")}
  return header, Symbols(*(f.astype(np.int32) for f in fields)), parts
