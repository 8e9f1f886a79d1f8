"""Weights of EML-Net: from what its authors published to one .npz file."""

import io
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgs.io import ImageError, write_atomic
from jaxgs.saliency.emlnet import Weights, variable_shapes
from jaxgs.weights import WHERE, weights_folder

FILE_NAME = "emlnet.npz"

# What torch calls a variable of flax.
_TORCH_LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


def from_torch(state: Mapping[str, np.ndarray], shapes: dict) -> dict:
  """Variables of flax from a state dict of torch.

  Args:
    state: Arrays by their names in torch, all of which may begin with
      `module.`. What the network does not use is left out: the published
      trunks bring an output of their own.
    shapes: One of `emlnet.variable_shapes`.

  Returns:
    A tree like `shapes` of float32 arrays; kernels (h, w, in, out).

  Raises:
    ValueError: A variable is missing or has another shape.
  """
  state = {name.removeprefix("module."): value for name, value in state.items()}
  found = {}
  for path, wanted in flatten_dict(shapes).items():
    name = _torch_name(path)
    if name not in state:
      raise ValueError(f"{name} is missing")
    value = np.asarray(state[name], np.float32)
    if value.ndim == 4:  # (out, in, h, w) there.
      value = value.transpose(2, 3, 1, 0)
    if value.shape != wanted.shape:
      raise ValueError(
        f"{name} must give the shape {wanted.shape}, got {value.shape}"
      )
    found[path] = value
  return unflatten_dict(found)


def _torch_name(path: tuple[str, ...]) -> str:
  """layer1.0.conv1.weight for (params, layer1_0, conv1, kernel)."""
  modules = re.sub(r"_(\d+)", r".\1", ".".join(path[1:-1]))
  return f"{modules}.{_TORCH_LEAVES[path[-1]]}"


def save_weights(path: str | os.PathLike, weights: Weights) -> None:
  """Writes an .npz file.

  Args:
    path: The file.
    weights: Trees of arrays.

  Raises:
    ImageError: It cannot be written.
  """
  file = io.BytesIO()
  np.savez(file, **flatten_dict(weights._asdict(), sep="/"))
  write_atomic(path, file.getvalue())


def load_weights(path: str | os.PathLike | None = None) -> Weights:
  """Reads what `save_weights` wrote.

  Args:
    path: The file; emlnet.npz in `weights_folder()` when None.

  Returns:
    Weights, float32 arrays of numpy.

  Raises:
    FileNotFoundError: It is not there; says where it belongs.
    ImageError: It is no such file, or a variable is missing or has another
      shape.
  """
  path = weights_folder() / FILE_NAME if path is None else pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: no such file; experiments.convert_emlnet makes the weights of"
      f" EML-Net, which belong in {WHERE}"
    )
  try:
    # Opened here: of a damaged file np.load leaves its own open.
    with path.open("rb") as stream:
      file = np.load(stream, allow_pickle=False)
      flat = {tuple(name.split("/")): file[name] for name in file.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ImageError(path, f"not a whole .npz file: {error}") from error
  for name, wanted in flatten_dict(variable_shapes()._asdict()).items():
    got = flat[name].shape if name in flat else "none"
    if got != wanted.shape:
      raise ImageError(
        path, f"{'/'.join(name)} must be {wanted.shape}, got {got}"
      )
  return Weights(**unflatten_dict(flat))
