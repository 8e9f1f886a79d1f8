"""Makes ms_ssim.npz: values of pytorch-msssim.

Where pytorch-msssim is installed: `python -m tests.data.make_ms_ssim`.
"""

import pathlib

import numpy as np

from tests.data.metric_pictures import pair

# Noise. The sides are odd at several scales; its least side is 161.
SIZE = (161, 183)
CASES = (0.02, 0.1, 0.5)


def main():
  import torch
  from pytorch_msssim import ms_ssim, ssim

  values = {"ssim": [], "ms_ssim": []}
  for noise in CASES:
    a, b = (
      torch.from_numpy(v).permute(2, 0, 1)[None].double()
      for v in pair(*SIZE, noise=noise)
    )
    values["ssim"].append(ssim(a, b, data_range=1.0).item())
    values["ms_ssim"].append(ms_ssim(a, b, data_range=1.0).item())
  np.savez(pathlib.Path(__file__).with_name("ms_ssim.npz"), **values)


if __name__ == "__main__":
  main()
