"""Named arrays of a file, `.npz` or of torch.save, read one by one."""

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxgs.codec.header import GAUSSIANS_MAX
from jaxgs.convert import torch_file
from jaxgs.io import ImageError

# Of all arrays over the file: compressed zeros could fill any memory.
_RATIO_MAX = 100
_FREE_BYTES = 1 << 20


class StoredArray(NamedTuple):
  """An array of a file that has not been read.

  Attributes:
    shape: As the file says.
    read: Reads it.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]


def open_arrays(path: str | os.PathLike) -> dict[str, StoredArray]:
  """Lists the arrays of a file; nothing in it is run.

  Args:
    path: Of an `.npz` file or a checkpoint of torch.save, whatever its suffix;
      of the latter the tensors of "state_dict", if there is one.

  Returns:
    Names to arrays.

  Raises:
    ImageError: The file cannot be read or is neither.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      total = sum(info.file_size for info in archive.infolist())
      if total > _RATIO_MAX * os.path.getsize(path) + _FREE_BYTES:
        raise ValueError(f"{total} bytes are packed into it")
      pickle = torch_file.find_pickle(archive)
      if pickle is None:
        return _list_npy(path, archive)
      tensors = torch_file.list_tensors(archive, pickle)
  except OSError as error:
    raise ImageError(path, error.strerror or str(error)) from error
  # Any type: zipfile, zlib and numpy raise a dozen on damaged archives.
  except Exception as error:
    raise ImageError(path, _fault(error)) from error

  def reader(tensor: torch_file.Tensor) -> Callable[[], np.ndarray]:
    return lambda: _read(
      path, lambda archive: torch_file.read_tensor(archive, pickle, tensor)
    )

  return {name: StoredArray(t.shape, reader(t)) for name, t in tensors.items()}


def _list_npy(path, archive: zipfile.ZipFile) -> dict[str, StoredArray]:
  def reader(name: str) -> Callable[[], np.ndarray]:
    def read_npy(archive: zipfile.ZipFile) -> np.ndarray:
      with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)

    return lambda: _read(path, read_npy)

  arrays = {}
  for name in archive.namelist():
    if name.endswith(".npy"):
      arrays[name.removesuffix(".npy")] = StoredArray(
        _npy_shape(archive, name), reader(name)
      )
  if not arrays:
    raise ValueError("no arrays of numpy or of torch.save in it")
  return arrays


def _npy_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
  with archive.open(name) as file:
    read = np.lib.format.read_array_header_2_0
    if np.lib.format.read_magic(file) == (1, 0):
      read = np.lib.format.read_array_header_1_0
    shape, _, dtype = read(file)
  # Memory for all of it is taken before it is read. (Objects are refused then.)
  size = 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize
  if size > archive.getinfo(name).file_size:
    raise ValueError(f"{name} ends before its {shape} values do")
  return shape


def _read(path, read: Callable[[zipfile.ZipFile], np.ndarray]) -> np.ndarray:
  try:
    with zipfile.ZipFile(path) as archive:
      return read(archive)
  except Exception as error:
    raise ImageError(path, _fault(error)) from error


def _fault(error: Exception) -> str:
  if str(error) == "File is not a zip file":
    return (
      "not a whole file of numpy.savez or of torch.save (1.6 and later): no zip"
      " archive"
    )
  kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
  return f"cannot be read: {kind}{error}"


def require(
  path: str | os.PathLike,
  arrays: Mapping[str, StoredArray],
  columns: Mapping[str, int | None],
) -> dict[str, np.ndarray]:
  """Reads the fields of N Gaussians.

  Args:
    path: For messages.
    arrays: From `open_arrays`.
    columns: Names of the fields to their number of columns, None for any.

  Returns:
    (N, columns) float64 arrays, finite.

  Raises:
    ImageError: One is missing, has another shape or number of Gaussians, is
      not of floats, or not finite.
  """
  missing = [name for name in columns if name not in arrays]
  if missing:
    raise ImageError(
      path,
      f"no {_list(missing)} among its arrays ({_list(arrays) or 'none'})",
    )
  num_gaussians = arrays[next(iter(columns))].shape[:1]
  for name, width in columns.items():
    shape = arrays[name].shape
    good = len(shape) == 2 and shape[1] >= 1 and width in (None, shape[1])
    if not good or shape[:1] != num_gaussians:
      of = "".join(str(n) for n in num_gaussians) or "N"
      wanted = f"({of}, {'C' if width is None else width})"
      raise ImageError(path, f"{name} has shape {shape}, expected {wanted}")
    if not 1 <= shape[0] <= GAUSSIANS_MAX:
      raise ImageError(
        path, f"{shape[0]} Gaussians, expected 1 to {GAUSSIANS_MAX}"
      )
  return {name: _finite(path, name, arrays[name].read()) for name in columns}


def _finite(path, name: str, values: np.ndarray) -> np.ndarray:
  if values.dtype.kind != "f":
    raise ImageError(path, f"{name} is of {values.dtype}, expected floats")
  faults = values.size - np.count_nonzero(np.isfinite(values))
  if faults:
    raise ImageError(path, f"{faults} values of {name} are not finite")
  return values.astype(np.float64)


def _list(names: Iterable[str]) -> str:
  """The first few of what may be many."""
  names = [name[:40] for name in names]
  return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
