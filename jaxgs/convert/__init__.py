"""Gaussians of other programs and files: in, and out to `.npz` and SVG.

A `Drawing` is what all of them become: Gaussians with their size and the rules
by which they are drawn. Checkpoints are read without torch and without running
anything that they hold.
"""

from jaxgs.convert.arrays import StoredArray, open_arrays
from jaxgs.convert.drawing import (
  Drawing,
  check_drawing,
  decode_drawing,
  encode_drawing,
  render_drawing,
  render_maps,
)
from jaxgs.convert.npz import read_npz, write_npz
from jaxgs.convert.peers import kind_of, read_gaussian_image, read_image_gs
from jaxgs.convert.svg import SVG_MODES, to_svg

__all__ = [
  "SVG_MODES",
  "Drawing",
  "StoredArray",
  "check_drawing",
  "decode_drawing",
  "encode_drawing",
  "kind_of",
  "open_arrays",
  "read_gaussian_image",
  "read_image_gs",
  "read_npz",
  "render_drawing",
  "render_maps",
  "to_svg",
  "write_npz",
]
