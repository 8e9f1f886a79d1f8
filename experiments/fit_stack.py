"""Fits the maps of a folder together, and tells the PSNR of all and of each.

Without rounding: what the Gaussians themselves can show. With `--out`, a second
fit settles on the lattice, and its file is written and measured too.
"""

import json
import time

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from experiments import command
from jaxgs.cli.folder import largest_size, read_maps, resize_maps
from jaxgs.codec import decode
from jaxgs.compilation_cache import use_compilation_cache
from jaxgs.compress import compress_job, fit_image
from jaxgs.config import CompressConfig, config_from_dict
from jaxgs.decompress import draw_maps
from jaxgs.io import write_atomic
from jaxgs.job import Job
from jaxgs.rasterize import render
from jaxgs.stack import stack_job
from jaxgs.state import FitState
from jaxgs.transfer import from_coded

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Settings: configs/stack.py.", lock_config=True
)
_MAPS = flags.DEFINE_string("maps", None, "Folder of one image per map.")
_HEIGHT = flags.DEFINE_integer("height", 0, "Rows; 0: those of the largest.")
_OUT = flags.DEFINE_string("out", None, "Also make a file, and write it here.")


def pictures_of(job: Job, state: FitState) -> dict[str, np.ndarray]:
  """The maps of a fit without rounding it, in their bit depths."""
  height, width, _ = job.image.shape
  image = render(
    state.gaussians,
    height=height,
    width=width,
    active=state.active,
    spec=job.config.fit.raster,
  ).image
  coded = np.clip(np.asarray(image), 0.0, 1.0) ** (1.0 / job.config.gamma)
  ends = np.cumsum([one.channels for one in job.maps])[:-1]
  parts = np.split(coded, ends, axis=-1)
  return {
    one.name: from_coded(part, one)
    for one, part in zip(job.maps, parts, strict=True)
  }


def tell(job: Job, pictures: dict[str, np.ndarray], **facts) -> None:
  """Prints a line of JSON: PSNR over all channels, and of each map."""
  facts["psnr_db"] = job.psnr_db(pictures)
  facts["maps"] = job.map_psnr_db(pictures)
  print(json.dumps(facts), flush=True)


def main() -> None:
  """Fits, and prints a line of JSON per measurement."""
  use_compilation_cache()
  settings = _CONFIG.value.to_dict()
  config = config_from_dict(CompressConfig, settings["compress"])
  maps = read_maps(_MAPS.value)
  height, width = largest_size(maps)
  if _HEIGHT.value:
    height, width = _HEIGHT.value, round(width * _HEIGHT.value / height)
  job = stack_job(resize_maps(maps, (height, width), "fit_stack"), config)
  key = jax.random.key(settings["seed"])
  began = time.perf_counter()
  state = fit_image(key, job.target, config.fit)
  jax.block_until_ready(state)
  tell(
    job,
    pictures_of(job, state),
    parameters="free",
    size=[height, width],
    num_gaussians=config.fit.num_gaussians,
    seconds=time.perf_counter() - began,
  )
  if _OUT.value:
    data = compress_job(job, key=key)
    write_atomic(_OUT.value, data)
    bpp = 8 * len(data) / (height * width)
    pictures = draw_maps(*decode(data))
    tell(job, pictures, parameters="file", bytes=len(data), bpp=bpp)


if __name__ == "__main__":
  command.launch(main, required=("config", "maps"))
