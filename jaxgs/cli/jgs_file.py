"""A `.jgs` file on its way through a command: read, drawn, measured."""

import os
import pathlib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from jaxgs import codec
from jaxgs.cli.report import CliError
from jaxgs.decompress import draw, draw_maps


def check_distinct(source: str, target: str) -> None:
  """A suffix proves nothing, so the output could be the input."""
  if os.path.exists(target) and os.path.samefile(source, target):
    raise CliError(f"{target}: is the input")


class Jgs(NamedTuple):
  """A file that was read."""

  data: bytes
  header: codec.Header
  symbols: codec.Symbols


def read_jgs(path: str) -> Jgs:
  """Reads a file.

  Raises:
    CliError: it cannot be read, or is not a whole `.jgs` file.
  """
  try:
    data = pathlib.Path(path).read_bytes()
    if not data:
      raise CliError(f"{path}: empty file")
    return Jgs(data, *codec.decode(data))
  except OSError as error:
    raise CliError(f"{path}: {error.strerror or error}") from error
  except codec.BitstreamError as error:
    raise CliError(f"{path}: {error}") from error


def is_jgs(path: str) -> bool:
  """Whether the file begins like a `.jgs` file."""
  try:
    with open(path, "rb") as file:
      return file.read(len(codec.MAGIC)) == codec.MAGIC
  except OSError:
    return False  # The reader of images says what is wrong.


def draw_jgs(path: str, jgs: Jgs, **options) -> np.ndarray:
  """The samples of a file that is one picture."""
  try:
    return draw(jgs.header, jgs.symbols, **options)
  except ValueError as error:  # It would take too long to draw.
    raise CliError(f"{path}: {error}") from error


def draw_jgs_maps(path: str, jgs: Jgs, **options) -> dict[str, np.ndarray]:
  """The samples of a file's maps by name; the empty name for a picture."""
  try:
    return draw_maps(jgs.header, jgs.symbols, **options)
  except ValueError as error:
    raise CliError(f"{path}: {error}") from error


def named_maps(
  path: str, header: codec.Header, names: Collection[str] | None
) -> list[codec.Map]:
  """The maps of these names, in the order of the file; all if there are none.

  Raises:
    CliError: there is no such map.
  """
  known = [one.name for one in header.maps if one.name]
  for name in names or ():
    if name not in known:
      has = f"it has {', '.join(known)}" if known else "it is one picture"
      raise CliError(f"{path}: no map {name!r}, {has}")
  return [one for one in header.pictures if not names or one.name in names]


def sizes(jgs: Jgs) -> dict:
  """What a file costs."""
  size, header = len(jgs.data), jgs.header
  return {
    "bytes": size,
    "bpp": 8 * size / (header.height * header.width),
    "num_gaussians": header.num_gaussians,
    "bits_per_gaussian": 8 * size / header.num_gaussians,
  }
