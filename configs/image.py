"""Settings of `experiments.fit_image`.

Any of them can be replaced on the command line:
`--config=configs/image.py --config.fit.num_gaussians=2000`.

`quant.bits` is None, so that the file has the steps of `quant`. A None has no
parts to replace: `--config=configs/image.py:bits` fills it in, and then
`--config.quant.bits.position=10` and the like work.
"""

import dataclasses

from ml_collections import config_dict

from experiments.workdir import RunConfig
from jaxgs.config import FieldBits, preset


def get_config(quantizer: str = "steps") -> config_dict.ConfigDict:
  """The settings.

  Args:
    quantizer: "steps" for the lattice of `quant`, "bits" for bits per field
      over ranges measured from the fitted Gaussians.

  Returns:
    ConfigDict with the fields of CompressConfig, and those of RunConfig as
    `run`.

  Raises:
    ValueError: The quantizer is neither.
  """
  if quantizer not in ("steps", "bits"):
    raise ValueError(f"quantizer must be steps or bits, got {quantizer!r}")
  compress = preset("default", num_gaussians=5000, num_steps=5000)
  if quantizer == "bits":
    quant = dataclasses.replace(compress.quant, bits=FieldBits())
    compress = dataclasses.replace(compress, quant=quant)
  config = config_dict.ConfigDict(dataclasses.asdict(compress))
  fit = config.fit

  # These follow an override of num_steps or chunk_steps. Eight rounds of growth
  # over a fifth of the steps, in whole chunks, as in `preset`.
  steps, chunk = fit.get_ref("num_steps"), fit.get_ref("chunk_steps")
  fit.growth_every = (steps + chunk * 40 - 1) // (chunk * 40) * chunk

  config.run = config_dict.ConfigDict(dataclasses.asdict(RunConfig()))
  # A fixed one, so that two runs of a config give the same file.
  config.run.seed = 0
  # A kill costs at most this many steps; a save takes about 10 ms.
  config.run.save_every_steps = chunk * 10
  # Ten pictures of the 5000 steps show how the fit went; each costs a
  # rendering and the disk space of a PNG.
  config.run.picture_every_steps = chunk * 10
  # Of --animate: at 10 frames per second ten seconds of 5000 steps.
  config.run.frame_every_steps = 1 * chunk
  return config
