"""Times the rasteriser's backends, and the steps of a fit."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
from absl import flags
from ml_collections import config_flags

from experiments import command, scenes, timing
from jaxgs import kernels
from jaxgs.backends import resolve_backend
from jaxgs.binning import bin_splats
from jaxgs.config import FitConfig, RasterSpec, config_from_dict
from jaxgs.io import read_image
from jaxgs.project import project

_CONFIG = config_flags.DEFINE_config_file(
  "config", "configs/bench_rasterize.py", "Settings.", lock_config=True
)
_BACKENDS = flags.DEFINE_list("backend", ["cpu", "xla"], "What is compared.")
_IMAGE = flags.DEFINE_string(
  "image", "tests/data/parrot.png", "What the scenes show, at any size."
)
_OUT = flags.DEFINE_string("out", None, "File for the JSON lines.")
_PLOT = flags.DEFINE_string("plot", None, "PNG of the step's time.")


def _count(program: str, settings) -> int:
  """How many draws or steps one call of a program does."""
  return settings["steps"] if program in ("render", "step") else 1


def measure(picture, scene, blend: str, backends, settings) -> list[dict]:
  """A row per backend and program of one scene; prints them."""
  width, height, channels, n = scene
  base = config_from_dict(FitConfig, settings["fit"])
  image, state = scenes.make_scene(
    picture,
    scene,
    steps=settings["warmup_steps"],
    grown=settings["grown"],
    seed=settings["seed"],
  )
  programs = {}
  for backend in backends:
    spec = resolve_backend(RasterSpec(blend=blend, backend=backend))
    config = dataclasses.replace(base, num_gaussians=n, raster=spec)
    found = scenes.programs_of(image, state, config, settings["steps"])
    programs |= {(backend, name): run for name, run in found.items()}
  splats = project(state.gaussians)
  bins = bin_splats(splats, height=height, width=width, spec=RasterSpec())
  scene = {
    "size": f"{width}x{height}x{channels}",
    "num_gaussians": n,
    "pairs": int(bins.starts[-1]),
    "blend": blend,
  }
  compiling = timing.compile_all(programs)
  # How many of what is timed one call does.
  counts = {key: _count(key[1], settings) for key in programs}
  times = timing.time_in_turn(
    programs,
    rounds=settings["rounds"],
    repeats={k: max(1, settings["repeats"] // n) for k, n in counts.items()},
  )
  rows = []
  for (backend, name), figures in times.items():
    figures = {k: v / counts[backend, name] for k, v in figures.items()}
    row = scene | {"backend": backend, "program": name} | figures
    rows.append(row | {"first_call_s": compiling[backend, name]})
    print(json.dumps(rows[-1]), flush=True)
  return rows


def table(rows: list[dict]) -> str:
  """The medians in ms, a line per scene, blend and backend."""
  lines = {}
  for row in rows:
    keys = ("size", "num_gaussians", "pairs", "blend", "backend")
    key = tuple(str(row[k]) for k in keys)
    lines.setdefault(key, {})[row["program"]] = f"{row['ms']:.3g}"
  programs = ("forward", "forward + backward", "render", "step")
  text = [("size", "N", "pairs", "blend", "backend", *programs), ["---"] * 9]
  text += [(*key, *(ms[p] for p in programs)) for key, ms in lines.items()]
  return "\n".join("| " + " | ".join(line) + " |" for line in text)


def plot(by_number: list[dict], by_size: list[dict], path: str) -> None:
  """Draws the step's time against N and against the size, as a PNG."""
  import matplotlib.pyplot as plt  # An extra of the experiments.

  figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
  panels = (
    (by_number, "num_gaussians", f"Gaussians, {by_number[0]['size']}"),
    (by_size, "size", "size, at one density of Gaussians"),
  )
  for axis, (rows, key, label) in zip(axes, panels, strict=True):
    steps = [row for row in rows if row["program"] == "step"]
    # Each scene has twice or four times the Gaussians of the one before.
    places = [row["num_gaussians"] for row in steps]
    axis.loglog(places, [row["ms"] for row in steps], "o-")
    axis.set(
      xlabel=label, ylabel="ms per step", ylim=(steps[0]["ms"] / 3, None)
    )
    axis.set_xticks(places, [str(row[key]) for row in steps])
    axis.set_xticks([], minor=True)
    axis.grid(True, which="both", alpha=0.3)
  figure.suptitle(f"backend {by_number[0]['backend']}")
  figure.savefig(path, dpi=120)


def main() -> None:
  """Prints JSON lines, then the table."""
  settings = _CONFIG.value.to_dict()
  picture = jnp.asarray(read_image(_IMAGE.value).pixels)
  backends = _BACKENDS.value
  for backend in backends:
    kernels.choose(backend, RasterSpec(), jax.default_backend())
  rows = []
  for scene in settings["scenes"]:
    for blend in settings["blends"]:
      rows += measure(picture, scene, blend, backends, settings)
  growth = []
  for scenes_of in (settings["by_number"], settings["by_size"]):
    growth.append([])
    for scene in scenes_of:
      growth[-1] += measure(picture, scene, "norm", backends[:1], settings)
  rows += growth[0] + growth[1]
  print(table(rows))
  if _PLOT.value:
    plot(*growth, _PLOT.value)
  if _OUT.value:
    rows.insert(0, timing.machine() | {"settings": settings})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pathlib.Path(_OUT.value).write_text(lines)


if __name__ == "__main__":
  command.launch(main, required=())
