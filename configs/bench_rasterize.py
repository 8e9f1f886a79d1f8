"""The speed of the backends: scenes, and how often each is timed."""

import dataclasses

from ml_collections import config_dict

from jaxgs.config import FitConfig


def get_config(device: str = "cpu") -> config_dict.ConfigDict:
  """The settings of `experiments.bench_rasterize`.

  Args:
    device: "cpu", or "gpu" for larger scenes.

  Returns:
    A ConfigDict; `fit` holds the fields of a FitConfig.
  """
  # The step to be timed has every term of the loss.
  fit = FitConfig(l1=0.8, l2=0.0, ssim=0.2)
  large = device == "gpu"
  return config_dict.create(
    fit=dataclasses.asdict(fit),
    # Width, height, channels and number of Gaussians.
    scenes=(
      ((768, 512, 3, 10000), (2048, 1622, 3, 50000), (1024, 1024, 8, 15000))
      if large
      else ((768, 512, 3, 5000),)
    ),
    blends=("norm",) if large else ("norm", "sum"),
    # Of the first backend alone: N at one size, and the size at one density.
    by_number=tuple((768, 512, 3, n) for n in (1250, 2500, 5000, 10000, 20000)),
    by_size=tuple((384 * k, 256 * k, 3, 1250 * k * k) for k in (1, 2, 4, 8)),
    # Steps that turn random Gaussians into those of a fit, whose sizes and
    # overlaps are others; half of the default fit where they cost nothing.
    warmup_steps=1000 if large else 200,
    # Whether that fit starts with few Gaussians, as a usual one, or with all.
    grown=True,
    rounds=7,
    # Calls, draws or steps of each round. Of draws and steps one call does
    # several, so that the host's part of it hardly counts.
    repeats=600 if large else 10,
    steps=200 if large else 5,
    seed=0,
  )
