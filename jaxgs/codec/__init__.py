"""The `.jgs` file: container, entropy coder, tables, field layout.

Imports numpy only, with the native library where it is there, and feeds the
entropy coder with integers only. FORMAT.md beside this file says all that a
decoder must do.
"""

from jaxgs.codec.bitstream import MAGIC, BitstreamError
from jaxgs.codec.fields import decode, encode, order, section_sizes
from jaxgs.codec.header import Header, validate_header
from jaxgs.codec.lattice import (
  ANGLE_LEVELS_MAX,
  POSITION_BITS_MAX,
  POSITION_BITS_MIN,
  RATIO_MAX,
  SCALE_MAX,
  SCALE_MIN,
  TABLE_OFFSET,
  TABLE_SIZE,
  Lattice,
  position_extent,
)
from jaxgs.codec.limits import SymbolLimits, symbol_limits
from jaxgs.codec.maps import Map
from jaxgs.codec.symbols import Symbols

__all__ = [
  "ANGLE_LEVELS_MAX",
  "MAGIC",
  "POSITION_BITS_MAX",
  "POSITION_BITS_MIN",
  "RATIO_MAX",
  "SCALE_MAX",
  "SCALE_MIN",
  "TABLE_OFFSET",
  "TABLE_SIZE",
  "BitstreamError",
  "Header",
  "Lattice",
  "Map",
  "SymbolLimits",
  "Symbols",
  "decode",
  "encode",
  "order",
  "position_extent",
  "section_sizes",
  "symbol_limits",
  "validate_header",
]
