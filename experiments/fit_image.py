"""Turns one image into a .jgs file, with a record of how the fit went.

Kill it at any moment and start it again: it goes on from its checkpoint and
ends with the same file. `jaxgs plot FOLDER out.png --kind=curves` (or
`rounds`) draws what it wrote.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import jax
from absl import flags, logging
from ml_collections import config_flags

from experiments import command, record, workdir
from jaxgs.checkpoint import (
  begin,
  fingerprint_of,
  fit_with_checkpoints,
  load_checkpoint,
)
from jaxgs.compilation_cache import use_compilation_cache
from jaxgs.config import CompressConfig, config_from_dict
from jaxgs.io import read_image
from jaxgs.job import Job

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Settings: configs/image.py.", lock_config=True
)
_IMAGE = flags.DEFINE_string(
  "image", None, "What is fitted: any that jaxgs encode reads."
)
_NAME = flags.DEFINE_string(
  "name", None, "Of the run, which is in results/<name>; default: the image's."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "A folder of another place.")
_OVERWRITE = flags.DEFINE_bool(
  "overwrite", False, "Delete a run of another config or image in the folder."
)
_ANIMATE = flags.DEFINE_string(
  "animate", None, "Film of the fit in the folder: .gif, .webp or .mp4."
)


def run(
  settings: Mapping,
  image: str,
  path: pathlib.Path,
  *,
  overwrite: bool = False,
  animate: str | None = None,
) -> dict:
  """Fits, or goes on with a fit that was interrupted, and writes the result.

  Args:
    settings: As in `configs/image.py`, plain nested dicts.
    image: Path of the image.
    path: The folder, made if it does not exist. Gets config.json,
      metrics.jsonl, growth.jsonl, pictures/, checkpoint.npz, and at the end
      image.jgs and decoded.png.
    overwrite: Delete what a run of another config or image left there.
    animate: Of a film, made at the end of what goes to frames/ on the way; its
      place is relative to `path`.

  Returns:
    The last line of the metrics.

  Raises:
    ValueError: A setting or the image is bad, or the folder holds another run.
    OSError: The folder cannot be made, read or written.
  """
  fields = dict(settings)
  options = config_from_dict(workdir.RunConfig, fields.pop("run", {}))
  config = config_from_dict(CompressConfig, fields)
  workdir.check_steps(config.fit, options)
  record.check_plots(options, animate)
  picture = read_image(image)
  job = Job.of(
    picture.pixels,
    config,
    bit_depth=picture.bit_depth,
    has_alpha=picture.has_alpha,
    # Its pictures are compared as they are, transparent colours too.
    alpha="straight",
  )
  key = jax.random.key(options.seed)
  start = begin(key, job)

  fields = dataclasses.asdict(config) | {"run": dataclasses.asdict(options)}
  fingerprint = fingerprint_of(fields, job.image)
  workdir.claim(path, fields, image, fingerprint, overwrite=overwrite)
  if animate is not None:
    record.check_place(path / animate, image)
  saved = path / "checkpoint.npz"
  if saved.exists():
    start = load_checkpoint(saved, start.state, fingerprint=fingerprint)
    logging.info("%s: going on from step %d", path, int(start.state.step))
  with record.Recorder(
    job, options, path, start.state, films=animate is not None
  ) as recorder:
    end = fit_with_checkpoints(
      key,
      job,
      start,
      saved,
      fingerprint=fingerprint,
      every_steps=options.save_every_steps,
      report=recorder.report,
    )
  line = record.write_results(job, end, path, recorder.seconds)
  if animate is not None:
    record.write_animation(path, path / animate)
  return line


def main() -> None:
  """Runs with the flags."""
  use_compilation_cache()
  settings = _CONFIG.value.to_dict()
  name = _NAME.value or pathlib.PurePath(_IMAGE.value).stem
  if _WORKDIR.value and _NAME.value:
    raise ValueError("--name and --workdir exclude each other")
  folder = _WORKDIR.value or workdir.folder_of(name)
  line = run(
    settings,
    _IMAGE.value,
    pathlib.Path(folder),
    overwrite=_OVERWRITE.value,
    animate=_ANIMATE.value,
  )
  logging.info("%s", ", ".join(f"{k} {v:.6g}" for k, v in line.items()))


if __name__ == "__main__":
  command.launch(main, ("config", "image"))
