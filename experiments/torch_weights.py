"""Weights of torch as numpy arrays, under the names that jaxgs gives them."""

import pathlib
import re
from collections.abc import Mapping

import numpy as np


def read_state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads a state dict of torch without running what a pickle may hold.

  Args:
    path: Of a state dict, or of a dict that has one as "state_dict".

  Returns:
    Arrays by name.

  Raises:
    ValueError: torch is missing, or the file holds anything but tensors.
    OSError: It cannot be read.
  """
  try:
    import torch
  except ModuleNotFoundError:
    raise ValueError(
      f"{path}: to read it takes torch: pip install 'jaxgs[convert]'"
    ) from None
  try:
    # weights_only: a pickle could run any code.
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    tensors = tensors.get("state_dict", tensors)
    return {name: tensor.numpy() for name, tensor in tensors.items()}
  except OSError:
    raise
  # Any: on damaged files it raises whatever its parsing trips on.
  except Exception as error:
    reason = str(error).split("\n")[0]
    raise ValueError(
      f"{path} is not a state dict of torch: {reason}"
    ) from error


def rename(
  network: Mapping[str, np.ndarray], heads: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """The arrays under the names that jaxgs gives them.

  Args:
    network: `features.<i>.weight` (out, in, H, W) and `features.<i>.bias`
      (out,); other names are left out.
    heads: `lin<i>.model.1.weight` (1, C, 1, 1).

  Returns:
    See `jaxgs.metrics.LpipsWeights`.
  """
  pattern = re.compile(r"features\.(\d+)\.weight")
  layers = sorted(int(m[1]) for m in map(pattern.fullmatch, network) if m)
  arrays = {}
  for i, layer in enumerate(layers):
    kernel = network[f"features.{layer}.weight"]
    arrays[f"conv{i}/kernel"] = kernel.transpose(2, 3, 1, 0)
    arrays[f"conv{i}/bias"] = network[f"features.{layer}.bias"]
  for name, head in heads.items():
    if match := re.fullmatch(r"lin(\d+)\.model\.1\.weight", name):
      arrays[f"head{match[1]}"] = head.reshape(-1)
  return arrays
