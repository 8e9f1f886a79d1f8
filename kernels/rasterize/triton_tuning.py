"""Block sizes of the Triton kernels, by kind of GPU, from tuning.json.

An entry was measured on that GPU, as NOTES.md tells; "default" serves all
others. None of them changes what is drawn.
"""

import functools
import json
import pathlib
from typing import NamedTuple


class Blocks(NamedTuple):
  """Powers of two.

  Attributes:
    gathered: Rows of a splat that are added up at once.
  """

  gathered: int


@functools.cache
def _table() -> dict[str, Blocks]:
  text = pathlib.Path(__file__).with_name("tuning.json").read_text("utf-8")
  return {kind: Blocks(**entry) for kind, entry in json.loads(text).items()}


def blocks(kind: str) -> Blocks:
  """Block sizes for a GPU.

  Args:
    kind: `device_kind` of a JAX device, as "NVIDIA H200".

  Returns:
    What suits it.
  """
  return _table().get(kind, _table()["default"])
