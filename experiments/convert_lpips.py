"""Turns published weights of LPIPS into one file that needs no torch.

The network is torchvision's state dict (alexnet-owt-7be5be79.pth for --alexnet,
vgg16-397923af.pth for --vgg16, both from download.pytorch.org/models), the
heads are files of the package `lpips` (lpips/weights/v0.1/alex.pth, vgg.pth).
They are read without running what a pickle may hold.
"""

import io
import pathlib
import pickle
import re
from collections.abc import Mapping

import numpy as np
from absl import flags, logging

from experiments import command
from jaxgs.io import check_writable, write_atomic
from jaxgs.metrics.lpips import lpips_weights_of

_ALEXNET = flags.DEFINE_string("alexnet", None, "State dict of AlexNet, .pth.")
_VGG16 = flags.DEFINE_string("vgg16", None, "State dict of VGG-16, .pth.")
_LPIPS = flags.DEFINE_string("lpips", None, "Heads of that network, .pth.")
_OUT = flags.DEFINE_string("out", None, "File to write, .npz.")


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


def main() -> None:
  """Converts one network."""
  if (_ALEXNET.value is None) == (_VGG16.value is None):
    raise ValueError("one of --alexnet and --vgg16 must be given")
  name = "vgg" if _ALEXNET.value is None else "alex"
  check_writable(_OUT.value, suffixes=(".npz",))
  arrays = rename(
    read_state_dict(pathlib.Path(_ALEXNET.value or _VGG16.value)),
    read_state_dict(pathlib.Path(_LPIPS.value)),
  )
  lpips_weights_of(arrays, network=name)
  archive = io.BytesIO()
  np.savez(archive, **arrays)
  write_atomic(_OUT.value, archive.getvalue())
  logging.info("%s: LPIPS (%s), %d arrays", _OUT.value, name, len(arrays))


if __name__ == "__main__":
  command.launch(main, ("lpips", "out"))
