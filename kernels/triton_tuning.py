"""Block sizes of the Triton kernels, by kind of GPU, from tuning.json.

An entry was measured on that GPU, as rasterize/NOTES.md tells; "default" serves
all others. None of them changes what is drawn.
"""

import functools
import json
import pathlib
from typing import NamedTuple

import jax


class Blocks(NamedTuple):
  """Powers of two.

  Attributes:
    candidates: Tiles under the boxes of 32 splats that a program looks at at
      once; a multiple of 32.
    sharers: Programs that share 32 splats: one of them may cover all tiles.
    gathered: Rows of a splat that are added up at once.
  """

  candidates: int
  sharers: int
  gathered: int


@functools.cache
def _table() -> dict[str, Blocks]:
  text = pathlib.Path(__file__).with_name("tuning.json").read_text("utf-8")
  return {kind: Blocks(**entry) for kind, entry in json.loads(text).items()}


def blocks() -> Blocks:
  """Block sizes for the first device."""
  kind = jax.devices()[0].device_kind
  return _table().get(kind, _table()["default"])
