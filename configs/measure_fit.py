"""Fits of Kodak images: what N Gaussians can show, and what rounding costs."""

import dataclasses

from ml_collections import config_dict

from jaxgs.config import preset


def get_config() -> config_dict.ConfigDict:
  """The settings of `experiments.measure_fit`.

  Returns:
    A ConfigDict; `compress` holds the fields of a CompressConfig.
  """
  compress = preset("default", num_gaussians=5000, num_steps=5000)
  config = config_dict.create(
    compress=dataclasses.asdict(compress),
    # The numbers of the tables in the README.
    num_gaussians=(2500, 5000, 10000),
    # Landscape format, so that one program fits all; from flat to busy.
    images=("kodim05", "kodim08", "kodim15", "kodim20", "kodim23", "kodim24"),
    seed=0,
  )
  # Growth is over after 16 % of the steps, as in the tables of the README.
  config.compress.fit.growth_every = 100
  return config
