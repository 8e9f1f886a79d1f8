"""Times the rasteriser's backends against each other, and the steps of a fit.

Every scene is fitted for a moment first: sizes and overlaps of random Gaussians
are others.
"""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
from absl import flags
from ml_collections import config_flags

from experiments import command, timing
from jaxgs import kernels
from jaxgs.binning import bin_splats
from jaxgs.config import FitConfig, RasterSpec, config_from_dict
from jaxgs.fit import default_rates, fit_chunk
from jaxgs.state import FitState, init_fit
from jaxgs.io import read_image
from jaxgs.project import project
from jaxgs.rasterize import render

_CONFIG = config_flags.DEFINE_config_file(
  "config", "configs/bench_rasterize.py", "Settings.", lock_config=True
)
_BACKENDS = flags.DEFINE_list("backend", ["cpu", "xla"], "What is compared.")
_IMAGE = flags.DEFINE_string(
  "image", "tests/data/parrot.png", "What the scenes show, at any size."
)
_OUT = flags.DEFINE_string("out", None, "File for the JSON lines.")


def make_scene(picture, width: int, height: int, n: int, settings):
  """An image of the size, and the state of a short fit of it."""
  shape = (height, width, picture.shape[2])
  image = jnp.clip(jax.image.resize(picture, shape, "cubic"), 0.0, 1.0)
  config = FitConfig(num_gaussians=n, growth_rounds=0)
  key = jax.random.key(settings["seed"])
  state = init_fit(key, image, config)
  steps = settings["warmup_steps"]
  return image, fit_chunk(state, image, config, num_steps=steps)


def programs_of(image, state: FitState, config: FitConfig, steps: int) -> dict:
  """What is timed of one backend: name to a function without arguments.

  Args:
    image: (H, W, C).
    state: Of the scene.
    config: Its `raster.backend` is the one.
    steps: Of one call of "step".

  Returns:
    "forward": pixels from the lists; "forward + backward"; "render": from the
    Gaussians; "step": of a fit, `steps` of them.
  """
  size, spec = image.shape[:2], config.raster
  splats = project(state.gaussians, active=state.active)
  bins = bin_splats(splats, height=size[0], width=size[1], spec=spec)
  backend = kernels.load(spec.backend)

  @jax.jit
  def forward(splats, bins):
    return backend.forward(spec, size, splats, bins)[0]

  @jax.jit
  def both(splats, bins, cotangent):
    _, residuals = backend.forward(spec, size, splats, bins)
    return backend.backward(spec, size, splats, bins, residuals, cotangent)

  show = functools.partial(render, height=size[0], width=size[1], spec=spec)
  draw = jax.jit(lambda gaussians: show(gaussians).image)
  rates = default_rates(config, size)
  return {
    "forward": lambda: forward(splats, bins),
    "forward + backward": lambda: both(splats, bins, image),
    "render": lambda: draw(state.gaussians),
    "step": lambda: fit_chunk(
      state, image, config, rates=rates, num_steps=steps
    ),
  }


def measure(picture, scene, blend: str, backends, settings, emit) -> None:
  """Emits a row per backend and program of one scene."""
  width, height, n = scene
  base = config_from_dict(FitConfig, settings["fit"])
  image, state = make_scene(picture, width, height, n, settings)
  programs = {}
  for backend in backends:
    spec = RasterSpec(blend=blend, backend=backend)
    config = dataclasses.replace(base, num_gaussians=n, raster=spec)
    found = programs_of(image, state, config, settings["repeats"])
    programs |= {(backend, name): run for name, run in found.items()}
  bins = bin_splats(
    project(state.gaussians), height=height, width=width, spec=RasterSpec()
  )
  compiling = timing.compile_all(programs)
  times = timing.time_in_turn(
    programs, rounds=settings["rounds"], repeats=settings["repeats"]
  )
  for (backend, name), figures in times.items():
    if name == "step":
      figures = {k: v / settings["repeats"] for k, v in figures.items()}
    emit(
      {
        "size": f"{width}x{height}",
        "num_gaussians": n,
        "pairs": int(bins.starts[-1]),
        "blend": blend,
        "backend": backend,
        "program": name,
        **figures,
        "first_call_s": compiling[backend, name],
      }
    )


def table(rows: list[dict]) -> str:
  """The medians in ms, a line per scene, blend and backend."""
  lines = {}
  for row in rows:
    keys = ("size", "num_gaussians", "pairs", "blend", "backend")
    lines.setdefault(tuple(row[k] for k in keys), {})[row["program"]] = row["ms"]
  programs = ("forward", "forward + backward", "render", "step")
  text = ["| size | N | pairs | blend | backend | " + " | ".join(programs) + " |"]
  text.append("|---" * (5 + len(programs)) + "|")
  for keys, times in lines.items():
    cells = [*map(str, keys), *(f"{times[p]:.2f}" for p in programs)]
    text.append("| " + " | ".join(cells) + " |")
  return "\n".join(text)


def main() -> None:
  """Prints one JSON line per figure, and the table."""
  settings = _CONFIG.value.to_dict()
  picture = jnp.asarray(read_image(_IMAGE.value).pixels)
  rows = []

  def emit(row):
    rows.append(row)
    print(json.dumps(row), flush=True)

  for backend in _BACKENDS.value:
    kernels.choose(backend, RasterSpec(), jax.default_backend())
  first, *others = settings["scenes"]
  for blend in settings["blends"]:
    measure(picture, first, blend, _BACKENDS.value, settings, emit)
  for scene in others:  # How one backend grows.
    measure(picture, scene, "norm", _BACKENDS.value[:1], settings, emit)
  print(table(rows))
  if _OUT.value:
    rows.insert(0, timing.machine() | {"settings": settings})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pathlib.Path(_OUT.value).write_text(lines)


if __name__ == "__main__":
  command.launch(main, required=())
