"""The native library: where it is, what it offers, and how many threads it has.

The library is built with the package where there is a compiler. It is not
there otherwise, and everything that it does is also done without it, slower.
Two variables of the environment are read: JAXGS_NATIVE=0 leaves the library
alone, and JAXGS_NUM_THREADS is the number of its threads.
"""

import ctypes
import functools
import math
import os
import pathlib

import numpy as np

_PATH = pathlib.Path(__file__).with_name("_native.so")

_CGROUPS = pathlib.Path("/sys/fs/cgroup")
_OWN_CGROUPS = pathlib.Path("/proc/self/cgroup")

# More would only be a typing error; the operating system refuses it late.
_THREADS_MAX = 1024

_i32, _i64 = ctypes.c_int32, ctypes.c_int64
_f32, _f64 = ctypes.c_float, ctypes.c_double
_array = ctypes.c_void_p

# Name -> (result, arguments). What each means is said where it is defined,
# in kernels/<op>/cpu.cc.
_FUNCTIONS = {
  "jaxgs_rans_encode": (
    _i32,
    # symbols, table_index, count, lanes, cumulative, offsets, num_tables, out,
    # size
    (_array, _array, _i64, _i64, _array, _array, _i64, _array, _array),
  ),
  "jaxgs_rans_decode": (
    _i32,
    # data, size, table_index, count, lanes, cumulative, offsets, num_tables,
    # symbols, used
    (_array, _i64, _array, _i64, _i64, _array, _array, _i64, _array, _array),
  ),
  "jaxgs_restore": (
    _i32,
    # residual, near, taps, steps, count, limit, values
    (_array, _array, _array, _array, _i64, _i64, _array),
  ),
  "jaxgs_restore_angles": (
    _i32,
    # turned, levels, source, stride, count, values
    (_array, _array, _array, _i64, _i64, _array),
  ),
  "jaxgs_isa": (ctypes.c_char_p, ()),
  "jaxgs_set_num_threads": (None, (_i32,)),
  "jaxgs_draw": (
    _i32,
    # mean, conic, log_weight, feature
    (_array,) * 4
    # n, channels, height, width, blend, top_k, cutoff, smooth_edge, epsilon
    + (_i64, _i64, _i64, _i64, _i32, _i32, _f32, _i32, _f32)
    # tile, threads, image
    + (_i32, _i32, _array),
  ),
  "jaxgs_count_pairs": (
    _f64,
    # mean, conic, log_weight, n, height, width, cutoff, tile
    (_array, _array, _array, _i64, _i64, _i64, _f32, _i32),
  ),
}


# Functions for XLA; `jaxgs.kernels.ffi` hands them over.
HANDLERS = (
  "jaxgs_ffi_bin_splats",
  "jaxgs_ffi_count_pairs",
  "jaxgs_ffi_image_loss",
  "jaxgs_ffi_rasterize_backward",
  "jaxgs_ffi_rasterize_forward",
)


def library() -> ctypes.CDLL | None:
  """The library with typed functions, or None; `reason` says why."""
  return None if _is_switched_off() else _load(_PATH)[0]


def reason() -> str:
  """Why there is no library; empty where there is one."""
  if _is_switched_off():
    return "switched off by JAXGS_NATIVE=0"
  return _load(_PATH)[1]


def _is_switched_off() -> bool:
  return os.environ.get("JAXGS_NATIVE") == "0"


@functools.cache
def _load(path: pathlib.Path) -> tuple[ctypes.CDLL | None, str]:
  if not path.exists():
    return None, (
      f"{path.name} is not there: no C++ compiler worked when jaxgs was"
      " installed"
    )
  try:
    found = ctypes.CDLL(os.fspath(path))
  except OSError as error:
    return None, f"cannot load the library: {error}"
  for name in (*_FUNCTIONS, *HANDLERS):
    if not hasattr(found, name):
      # An editable install whose sources have moved on.
      return None, f"{path.name} has no {name}: install jaxgs again"
  for name, (result, arguments) in _FUNCTIONS.items():
    function = getattr(found, name)
    function.restype, function.argtypes = result, arguments
  return found, ""


@functools.cache
def announce_slow_path() -> None:
  """Says in the log, once per process, that work goes on without the library.

  To be called where the library would have been used. Says nothing where the
  user has switched it off.
  """
  if _is_switched_off() or not reason():
    return
  from absl import logging

  logging.warning("jaxgs runs on its slower path: %s", reason())


def pointer(array: np.ndarray, dtype: type) -> int:
  """The address of an array for a function of the library.

  Args:
    array: C-contiguous, and kept alive by the caller.
    dtype: What the function reads or writes.

  Returns:
    The address.

  Raises:
    ValueError: The array is of another type or layout.
  """
  if array.dtype != dtype or not array.flags.c_contiguous:
    raise ValueError(
      f"array must be contiguous {np.dtype(dtype)}, got {array.dtype}"
    )
  return array.ctypes.data


def instruction_set() -> str:
  """The instructions that the library uses here; empty where there is none."""
  found = library()
  return found.jaxgs_isa().decode() if found else ""


def num_threads() -> int:
  """How many threads the library uses.

  Returns:
    JAXGS_NUM_THREADS if set; else the cores that the process may run on, or
    the number of cores that its control group may use, if that is less.

  Raises:
    ValueError: JAXGS_NUM_THREADS is no number from 1 to 1024.
  """
  wanted = os.environ.get("JAXGS_NUM_THREADS")
  if wanted:
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _THREADS_MAX:
      raise ValueError(
        f"JAXGS_NUM_THREADS must be 1 to {_THREADS_MAX}, got {wanted!r}"
      )
    return int(wanted)
  try:
    cores = len(os.sched_getaffinity(0))
  except AttributeError:  # Not on macOS.
    cores = os.cpu_count() or 1
  return max(1, math.ceil(min(cores, _quota(), _THREADS_MAX)))


@functools.cache
def _quota() -> float:
  """Cores that the control groups of this process may use; inf if no limit."""
  try:
    lines = _OWN_CGROUPS.read_text().splitlines()
  except OSError:
    return math.inf
  least = math.inf
  for line in lines:
    _, controllers, path = line.split(":", 2)
    if not controllers:
      root, read = _CGROUPS, _quota_v2
    elif "cpu" in controllers.split(","):
      root, read = _CGROUPS / "cpu", _quota_v1
    else:
      continue
    # Every group above may have a limit. Inside a container the path may be
    # that of the host, where only the root exists.
    folder = root / path.lstrip("/")
    for group in (folder, *folder.parents):
      if not group.is_relative_to(root):
        break
      try:
        least = min(least, read(group))
      except (OSError, ValueError):
        continue
  return least


def _quota_v2(group: pathlib.Path) -> float:
  quota, period = (group / "cpu.max").read_text().split()
  return math.inf if quota == "max" else int(quota) / int(period)


def _quota_v1(group: pathlib.Path) -> float:
  quota = int((group / "cpu.cfs_quota_us").read_text())
  period = int((group / "cpu.cfs_period_us").read_text())
  return quota / period if quota > 0 else math.inf
