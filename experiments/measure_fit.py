"""Fits images in one vmapped program and tells PSNR, size and time.

Per number of Gaussians: the quality without rounding, and that of real files
after quantisation-aware steps. Compile time and run time are apart.
"""

import dataclasses
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import config_flags

from experiments import command
from jaxgs import codec, metrics
from jaxgs.config import CompressConfig, config_from_dict
from jaxgs.decompress import decompress
from jaxgs.fit import fit
from jaxgs.io import read_image
from jaxgs.job import Job
from jaxgs.quantize import device_lattice
from jaxgs.rasterize import render

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Settings: configs/measure_fit.py.", lock_config=True
)
_DATA = flags.DEFINE_string("data_dir", None, "Folder of the PNG files.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON lines.")


def fit_all(key: jax.Array, images: np.ndarray, job: Job, lattice) -> tuple:
  """One program for all images.

  Args:
    key: PRNG key.
    images: (B, H, W, C) float32.
    job: Settings.
    lattice: codec.Lattice to round to, or None.

  Returns:
    FitResult with leading axis B, seconds to compile, seconds to run.

  Raises:
    ValueError: The pair list overflowed.
  """
  steps = None if lattice is None else device_lattice(lattice)

  def one(key, image):
    return fit(
      key, image, job.config.fit, lattice=steps, transform=job.transform
    )

  keys = jax.random.split(key, len(images))
  began = time.perf_counter()
  program = jax.jit(jax.vmap(one)).lower(keys, images).compile()
  compiled = time.perf_counter()
  result = jax.block_until_ready(program(keys, images))
  if int(result.dropped.max()):
    raise ValueError("set config.compress.fit.raster.max_pairs to more")
  return result, compiled - began, time.perf_counter() - compiled


def measure(settings, names: list[str], images: np.ndarray, n: int, emit):
  """Fits with n Gaussians, without and with rounding, and emits the figures."""
  config = config_from_dict(CompressConfig, settings["compress"])
  config = dataclasses.replace(
    config, fit=dataclasses.replace(config.fit, num_gaussians=n)
  )
  job = Job.of(images[0], config)
  key = jax.random.key(settings["seed"])
  for lattice in (None, job.lattice()):
    result, compiling, running = fit_all(key, images, job, lattice)
    for i, name in enumerate(names):
      gaussians, active = jax.tree.map(
        lambda leaf, i=i: leaf[i], (result.gaussians, result.active)
      )
      figures = {}
      if lattice is None:
        height, width = images.shape[1:3]
        image = render(
          gaussians,
          height=height,
          width=width,
          active=active,
          spec=config.fit.raster,
        ).image
        image = jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0) / 255.0
      else:
        data = job.encode(gaussians, active, lattice)
        image = decompress(data).astype(np.float32) / np.float32(255)
        figures = {
          "bpp": 8 * len(data) / images[i, ..., 0].size,
          "bits_per_gaussian": 8 * len(data) / n,
          "sections": codec.section_sizes(data),
        }
      figures["psnr_db"] = float(metrics.psnr(image, images[i]))
      figures["ssim"] = float(metrics.ssim(image, images[i]))
      rounded = "file" if figures.get("bpp") else "free"
      emit(
        {"image": name, "num_gaussians": n, "parameters": rounded, **figures}
      )
    emit({"compile_s": compiling, "run_s": running, "images": len(names)})


def main() -> None:
  """Prints one JSON line per figure."""
  settings = _CONFIG.value.to_dict()
  folder = pathlib.Path(_DATA.value)
  names = list(settings["images"])
  images = np.stack([read_image(folder / f"{n}.png").pixels for n in names])
  device = jax.devices()[0]
  rows = [{"device": device.device_kind, "jax": jax.__version__, **settings}]

  def emit(row):
    rows.append(row)
    print(json.dumps(row), flush=True)

  for n in settings["num_gaussians"]:
    measure(settings, names, images, n, emit)
  if _OUT.value:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pathlib.Path(_OUT.value).write_text(lines)


if __name__ == "__main__":
  command.launch(main, required=("config", "data_dir"))
