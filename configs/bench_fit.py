"""Whole fits: time to a quality, many images at once, and a huge picture."""

import dataclasses

from ml_collections import config_dict

from jaxgs.config import preset


def get_config() -> config_dict.ConfigDict:
  """The settings of `experiments.bench_fit`.

  Returns:
    A ConfigDict; `fit` holds the fields of a FitConfig.
  """
  fit = preset("default", num_gaussians=5000, num_steps=5000).fit
  config = config_dict.create(
    fit=dataclasses.asdict(fit),
    # Where Image-GS ends with as many Gaussians.
    time_to=dict(
      image="kodim23", num_gaussians=10000, num_steps=2000, psnr_db=39.65
    ),
    # All images of the folder, in programs of one size each.
    batch=dict(num_gaussians=5000, num_images=24),
    # Nothing is measured where the side is 0. Bands of rows (0: by the size)
    # are for less memory than this.
    huge=dict(side=8192, num_gaussians=500_000, num_steps=4, band_rows=8192),
    seed=0,
  )
  # Growth is over after 16 % of the steps, as in the tables of the README.
  config.fit.growth_every = 100
  return config
