"""The speed of the backends: scenes, and how often each is timed."""

import dataclasses

from ml_collections import config_dict

from jaxgs.config import FitConfig


def get_config() -> config_dict.ConfigDict:
  """The settings of `experiments.bench_rasterize`.

  Returns:
    A ConfigDict; `fit` holds the fields of a FitConfig.
  """
  # The step to be timed has every term of the loss.
  fit = FitConfig(l1=0.8, l2=0.0, ssim=0.2)
  return config_dict.create(
    fit=dataclasses.asdict(fit),
    # Width, height and number of Gaussians. The first is the one of the table
    # by backend; then N grows at one size, and the size at one density.
    scenes=(
      (768, 512, 5000),
      (768, 512, 1250),
      (768, 512, 2500),
      (768, 512, 10000),
      (768, 512, 20000),
      (384, 256, 1250),
      (1536, 1024, 20000),
      (3072, 2048, 80000),
    ),
    blends=("norm", "sum"),
    # Steps that turn random Gaussians into those of a fit, whose sizes and
    # overlaps are others.
    warmup_steps=200,
    rounds=7,
    # Of each round; the steps of a fit are timed this many at once.
    repeats=3,
    seed=0,
  )
