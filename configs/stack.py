"""Settings of `experiments.fit_stack`: a texture's maps, as Image-GS fits them.

Any of them can be replaced on the command line:
`--config=configs/stack.py --config.compress.fit.num_gaussians=2000`.
"""

import dataclasses

from ml_collections import config_dict

from jaxgs.config import preset


def get_config() -> config_dict.ConfigDict:
  """The settings.

  Returns:
    ConfigDict with `seed`, and the fields of CompressConfig as `compress`.
  """
  config = config_dict.ConfigDict()
  config.seed = 0
  compress = preset("default", num_gaussians=15000, num_steps=5000)
  config.compress = config_dict.ConfigDict(dataclasses.asdict(compress))
  fit = config.compress.fit
  # These follow an override of num_steps or chunk_steps: see configs/image.py.
  steps, chunk = fit.get_ref("num_steps"), fit.get_ref("chunk_steps")
  fit.growth_every = (steps + chunk * 40 - 1) // (chunk * 40) * chunk
  return config
