"""Times whole fits: to a quality, of many images at once, of a huge picture."""

import dataclasses
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import config_flags

from experiments import command, timing
from jaxgs import metrics
from jaxgs.batch import fit_batch
from jaxgs.config import FitConfig, config_from_dict, preset
from jaxgs.fit import fit_chunk
from jaxgs.io import read_image
from jaxgs.rasterize import render
from jaxgs.state import init_fit

_CONFIG = config_flags.DEFINE_config_file(
  "config", "configs/bench_fit.py", "Settings.", lock_config=True
)
_DATA = flags.DEFINE_string("data_dir", None, "Folder of the PNG files.")
_OUT = flags.DEFINE_string("out", None, "File for the JSON lines.")


def time_to(image, settings, seed: int) -> dict:
  """Seconds from the first step until a PSNR is reached, second run."""
  n, steps = settings["num_gaussians"], settings["num_steps"]
  config = preset("default", num_gaussians=n, num_steps=steps).fit
  wanted = 10.0 ** (-settings["psnr_db"] / 10.0)
  seconds = []
  for _ in range(2):  # The first run compiles.
    began = time.perf_counter()
    state = init_fit(jax.random.key(seed), image, config)
    while float(state.mse) > wanted and int(state.step) < steps:
      state = fit_chunk(state, image, config)
    seconds.append(time.perf_counter() - began)
  return {
    "benchmark": "time to a quality",
    **settings,
    "reached_db": float(-10.0 * np.log10(state.mse)),
    "steps": int(state.step),
    "compile_s": seconds[0] - seconds[1],
    "run_s": seconds[1],
  }


def time_batch(images, config: FitConfig, seed: int) -> dict:
  """Seconds to fit many images, second run, and their mean PSNR."""
  keys = jax.random.split(jax.random.key(seed), len(images))
  seconds = []
  for _ in range(2):
    began = time.perf_counter()
    states = fit_batch(keys, images, config)
    seconds.append(time.perf_counter() - began)
  psnr_db = []
  for image, state in zip(images, states, strict=True):
    height, width, _ = image.shape
    drawn = render(
      state.gaussians,
      height=height,
      width=width,
      active=state.active,
      spec=config.raster,
    ).image
    drawn = jnp.round(jnp.clip(drawn, 0.0, 1.0) * 255.0) / 255.0
    psnr_db.append(float(metrics.psnr(drawn, jnp.asarray(image))))
  return {
    "benchmark": "many images",
    "images": len(images),
    "num_gaussians": config.num_gaussians,
    "num_steps": config.num_steps,
    "mean_psnr_db": float(np.mean(psnr_db)),
    "psnr_db": psnr_db,
    "compile_s": seconds[0] - seconds[1],
    "run_s": seconds[1],
  }


def huge(image, settings, seed: int) -> dict:
  """Time of a step and peak memory of a picture enlarged to a huge one."""
  side, n = settings["side"], settings["num_gaussians"]
  shape = (side, side, image.shape[2])
  image = jnp.clip(jax.image.resize(image, shape, "linear"), 0.0, 1.0)
  config = FitConfig(
    num_gaussians=n,
    growth_rounds=0,
    relocate_ratio=0.0,
    band_rows=settings["band_rows"],
  )
  state = init_fit(jax.random.key(seed), image, config)
  seconds = []
  for _ in range(2):
    began = time.perf_counter()
    state = fit_chunk(state, image, config, num_steps=settings["num_steps"])
    jax.block_until_ready(state)
    seconds.append(time.perf_counter() - began)
  memory = jax.devices()[0].memory_stats() or {}
  return {
    "benchmark": "huge picture",
    **settings,
    "dropped": int(state.dropped),
    "ms_per_step": 1e3 * seconds[1] / settings["num_steps"],
    "peak_gb": memory.get("peak_bytes_in_use", 0) / 1e9,
  }


def main() -> None:
  """Prints one JSON line per benchmark."""
  settings = _CONFIG.value.to_dict()
  seed = settings["seed"]
  paths = sorted(pathlib.Path(_DATA.value).glob("*.png"))
  images = {path.stem: read_image(path).pixels for path in paths}
  if not images:
    raise ValueError(f"no PNG files in {_DATA.value}")
  rows = [timing.machine()]

  def emit(row):
    rows.append(row)
    print(json.dumps(row), flush=True)

  goal = settings["time_to"]
  if goal["image"] in images:
    emit(time_to(jnp.asarray(images[goal["image"]]), goal, seed))
  config = dataclasses.replace(
    config_from_dict(FitConfig, settings["fit"]),
    num_gaussians=settings["batch"]["num_gaussians"],
  )
  chosen = list(images.values())[: settings["batch"]["num_images"]]
  if chosen:
    emit(time_batch(chosen, config, seed))
  if settings["huge"]["side"]:
    first = jnp.asarray(next(iter(images.values())))
    emit(huge(first, settings["huge"], seed))
  if _OUT.value:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pathlib.Path(_OUT.value).write_text(lines)


if __name__ == "__main__":
  command.launch(main, required=("data_dir",))
