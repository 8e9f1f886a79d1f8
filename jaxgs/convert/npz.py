"""Drawings as plain arrays in an `.npz` file.

Names are those of `Gaussians2D` and of `Drawing` and `RasterSpec`; units are
theirs too: pixels, x right, y down, pixel centres at +0.5. `maps` is JSON, a
list of the fields of `codec.Map`; `icc` are bytes.
"""

import dataclasses
import io
import json
import os

import numpy as np

from jaxgs import codec
from jaxgs.codec.header import GAUSSIANS_MAX
from jaxgs.config import RasterSpec
from jaxgs.convert.arrays import StoredArray, open_arrays
from jaxgs.convert.drawing import Drawing, check_drawing
from jaxgs.io import ImageError, write_atomic
from jaxgs.types import Gaussians2D

# Raised when a reader of the old files would misunderstand the new ones.
_VERSION = 1

# Scalars: their kinds in numpy's letters. The last may be missing.
_RASTER = {
  "blend": "U",
  "top_k": "iu",
  "cutoff": "f",
  "epsilon": "f",
  "edge": "U",
}
_SIZE = {"height": "iu", "width": "iu"}
_OPTIONAL = {"bit_depth": "iu", "has_alpha": "b", "gamma": "f"}


def write_npz(path: str | os.PathLike, drawing: Drawing) -> None:
  """Writes a drawing.

  Args:
    path: The file to create or replace.
    drawing: What to write.

  Raises:
    ValueError: The drawing is not valid.
    ImageError: The file cannot be written.
  """
  drawing = check_drawing(drawing)
  arrays = drawing.gaussians._asdict()
  for names, holder in (
    (_RASTER, drawing.raster),
    ({**_SIZE, **_OPTIONAL}, drawing),
  ):
    arrays |= {name: np.array(getattr(holder, name)) for name in names}
  if drawing.maps:
    told = [dataclasses.asdict(one) for one in drawing.maps]
    arrays["maps"] = np.array(json.dumps(told))
  if drawing.icc:
    arrays["icc"] = np.frombuffer(drawing.icc, np.uint8)
  buffer = io.BytesIO()
  np.savez(buffer, allow_pickle=False, version=np.array(_VERSION), **arrays)
  write_atomic(path, buffer.getvalue())


def read_npz(path: str | os.PathLike) -> Drawing:
  """Reads what `write_npz` wrote, or another program in its terms.

  Args:
    path: Of the file; bit_depth, has_alpha, gamma, maps and icc may be missing.

  Returns:
    A Drawing.

  Raises:
    ImageError: The file cannot be read, something in it is missing, or of
      another type, shape or range.
  """
  arrays = open_arrays(path)
  version = _scalar(path, arrays, "version", "iu")
  if version != _VERSION:
    raise ImageError(path, f"is of version {version}, expected {_VERSION}")
  fields = {}
  for name in Gaussians2D._fields:
    if name not in arrays:
      raise ImageError(path, f"no array {name}")
    # Before it is read: a few bytes may declare gigabytes.
    shape = arrays[name].shape
    if not (1 <= len(shape) <= 2 and 1 <= shape[0] <= GAUSSIANS_MAX):
      raise ImageError(
        path, f"{name} has shape {shape}, expected 1 to {GAUSSIANS_MAX} rows"
      )
    fields[name] = arrays[name].read()
  size = {k: _scalar(path, arrays, k, kind) for k, kind in _SIZE.items()}
  raster = {k: _scalar(path, arrays, k, kind) for k, kind in _RASTER.items()}
  rest = {
    name: _scalar(path, arrays, name, kind)
    for name, kind in _OPTIONAL.items()
    if name in arrays
  }
  rest |= {"maps": _maps(path, arrays), "icc": _profile(path, arrays)}
  try:
    return check_drawing(
      Drawing(
        Gaussians2D(**fields), raster=RasterSpec(**raster), **size, **rest
      )
    )
  except ValueError as error:
    raise ImageError(path, str(error)) from error


def _maps(path, arrays: dict[str, StoredArray]) -> tuple[codec.Map, ...]:
  if "maps" not in arrays:
    return ()
  kinds = {field.name: field.type for field in dataclasses.fields(codec.Map)}
  try:
    told = json.loads(_scalar(path, arrays, "maps", "U"))
    maps = tuple(codec.Map(**fields) for fields in told)
    for one in maps:
      for name, value in dataclasses.asdict(one).items():
        if type(value) is not kinds[name]:
          raise ValueError(f"{name} is {value!r}")
  except (ValueError, TypeError, RecursionError) as error:
    raise ImageError(path, f"maps: {error}") from error
  return maps


def _profile(path, arrays: dict[str, StoredArray]) -> bytes:
  if "icc" not in arrays:
    return b""
  values = arrays["icc"].read()
  if values.ndim != 1 or values.dtype != np.uint8:
    raise ImageError(path, "icc is not bytes")
  return values.tobytes()


def _scalar(path, arrays: dict[str, StoredArray], name: str, kinds: str):
  if name not in arrays:
    raise ImageError(path, f"no value {name}")
  value = arrays[name].read() if arrays[name].shape == () else None
  if value is None or value.dtype.kind not in kinds:
    kind = {"U": "text", "f": "a float", "b": "a bool"}.get(kinds, "an integer")
    raise ImageError(path, f"{name} is not {kind}")
  return value.item()
