"""Weights of torch as numpy arrays, under the names that jaxgs gives them."""

import pathlib
import pickle
import re
from collections.abc import Mapping

import numpy as np


def read_state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads a state dict of torch.

  Args:
    path: Of the file.

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
      "reading .pth files needs torch: pip install 'jaxgs[convert]'"
    ) from None
  try:
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in tensors.items()}
  except (AttributeError, EOFError, RuntimeError, pickle.UnpicklingError):
    raise ValueError(f"{path} is not a state dict of torch") from None


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
