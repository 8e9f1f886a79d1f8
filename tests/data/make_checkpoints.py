"""Writes small checkpoints as Image-GS and GaussianImage write them.

Needs torch. Run from the root as `python -m tests.data.make_checkpoints`; the
values are those of `parameters`, which the tests compare with.
"""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
NUM_GAUSSIANS = 12


def parameters(names):
  """Names to float32 arrays (12, columns), from a seed."""
  rng = np.random.default_rng(0)
  return {
    name: rng.normal(size=(NUM_GAUSSIANS, columns)).astype(np.float32)
    for name, columns in names.items()
  }


IMAGE_GS = {"xy": 2, "scale": 2, "rot": 1, "feat": 3, "vis_feat": 3}
CHOLESKY = {"_xyz": 2, "_cholesky": 3, "_features_dc": 3}
ROTATED = {"_xyz": 2, "_scaling": 2, "_rotation": 1, "_features_dc": 3}


def main():
  import torch

  def model(names, **buffers):
    module = torch.nn.Module()
    for name, value in parameters(names).items():
      setattr(module, name, torch.nn.Parameter(torch.tensor(value)))
    for name, value in buffers.items():
      module.register_buffer(name, torch.tensor(value))
    return module

  module = model(IMAGE_GS)
  # A step that changes nothing but its own tensors.
  optimizer = torch.optim.Adam([{"params": [module.xy]}], lr=0.0)
  module.xy.sum().backward()
  optimizer.step()
  metrics = dict.fromkeys(("psnr", "ssim", "lpips", "flip", "msssim"), 0.5)
  torch.save(
    {
      "step": 1,
      **metrics,
      "bytes": 1.5,
      "time": 2.5,
      "state_dict": module.state_dict(),
      "optim_state_dict": optimizer.state_dict(),
    },
    FOLDER / "image_gs.pt",
  )
  opacity = np.ones((NUM_GAUSSIANS, 1), np.float32)
  bound = np.array([[0.5, 0.5]], np.float32)
  for name, names in (("cholesky", CHOLESKY), ("rs", ROTATED)):
    module = model(names, _opacity=opacity, bound=bound)
    torch.save(module.state_dict(), FOLDER / f"gaussian_image_{name}.pth.tar")
  # A view that is not contiguous, of another type.
  many = torch.arange(24, dtype=torch.float64).reshape(4, 6)
  torch.save({"view": many[1:, ::2].T, "whole": many}, FOLDER / "views.pt")


if __name__ == "__main__":
  main()
