"""Turns published weights of LPIPS into one file that needs no torch.

The network is torchvision's state dict (alexnet-owt-7be5be79.pth for --alexnet,
vgg16-397923af.pth for --vgg16, both from download.pytorch.org/models), the
heads are files of the package `lpips` (lpips/weights/v0.1/alex.pth, vgg.pth).
They are read without running what a pickle may hold.
"""

import io
import pathlib

import numpy as np
from absl import flags, logging

from experiments import command
from experiments.torch_weights import read_state_dict, rename
from jaxgs.io import check_writable, write_atomic
from jaxgs.metrics.lpips import lpips_weights_of

_ALEXNET = flags.DEFINE_string("alexnet", None, "State dict of AlexNet, .pth.")
_VGG16 = flags.DEFINE_string("vgg16", None, "State dict of VGG-16, .pth.")
_LPIPS = flags.DEFINE_string("lpips", None, "Heads of that network, .pth.")
_OUT = flags.DEFINE_string("out", None, "File to write, .npz.")


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
