"""The folder of one run: its settings, its metrics, and who may write there."""

import dataclasses
import importlib.metadata
import json
import math
import pathlib
import subprocess
from collections.abc import Mapping

import jax
from absl import logging

import jaxgs
from jaxgs.config import FitConfig
from jaxgs.io import write_atomic

_PACKAGES = ("jax", "jaxlib", "numpy", "jaxgs")

# What a run writes. If one of them is there without config.json, the folder
# belongs to something else.
_OUTPUTS = (
  "metrics.jsonl",
  "growth.jsonl",
  "pictures",
  "frames",
  "tensorboard",
  "checkpoint.npz",
  "image.jgs",
  "decoded.png",
)

# What it writes into those of them that are folders.
_PICTURES = ("step-*.png", "ellipses-*.png", "error-*.png", "events.out.*")


# Steps between things, and the least of them.
_PERIODS = {
  "save_every_steps": 1,
  "picture_every_steps": 0,
  "frame_every_steps": 1,
}


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """What a run does besides the fit.

  Attributes:
    seed: Of the PRNG key.
    save_every_steps: Steps between checkpoints, a multiple of
      `fit.chunk_steps`.
    picture_every_steps: Steps between pictures, a multiple of
      `fit.chunk_steps`; 0: none.
    frame_every_steps: Steps between the frames of --animate, likewise.
    ellipses: With each picture one of the splats.
    error: With each picture a map of its error.
    tensorboard: Metrics and pictures for TensorBoard, too.
  """

  seed: int = 0
  save_every_steps: int = 500
  picture_every_steps: int = 500
  frame_every_steps: int = 50
  ellipses: bool = False
  error: bool = False
  tensorboard: bool = False

  def __post_init__(self):
    for name, least in _PERIODS.items():
      if getattr(self, name) < least:
        raise ValueError(
          f"run.{name} must be >= {least}, got {getattr(self, name)}"
        )


def check_steps(fit: FitConfig, run: RunConfig) -> None:
  """Checks what only the two together can get wrong.

  Args:
    fit: Settings of the fit.
    run: Settings of the run.

  Raises:
    ValueError: A period is not in chunks.
  """
  for name in _PERIODS:
    if getattr(run, name) % fit.chunk_steps:
      raise ValueError(
        f"run.{name} must be a multiple of fit.chunk_steps"
        f" ({fit.chunk_steps}), got {getattr(run, name)}"
      )


def folder_of(name: str) -> pathlib.Path:
  """Where a run of a name is: `results/<name>`.

  Raises:
    ValueError: The name is not that of one folder.
  """
  if pathlib.PurePath(name).name != name or name in ("", ".."):
    raise ValueError(f"a name must be that of one folder, got {name!r}")
  return pathlib.Path("results") / name


def claim(
  workdir: pathlib.Path,
  config: Mapping,
  image: str,
  fingerprint: str,
  *,
  overwrite: bool = False,
) -> None:
  """Makes the folder and its config.json, or checks that it is this run's.

  Args:
    workdir: The folder; it may exist.
    config: All settings, nested.
    image: Path of the image, for the reader of config.json.
    fingerprint: Of config and pixels.
    overwrite: Delete what another run wrote there. Files that no run writes
      stay, and a folder that is not of a run is refused all the same.

  Raises:
    ValueError: The folder holds another run. It stays as it is.
    OSError: The folder cannot be made.
  """
  device = jax.devices()[0]
  record = {
    "config": config,
    "image": image,
    "fingerprint": fingerprint,
    "versions": _versions(),
    "device": f"{device.platform}: {device.device_kind}",
  }
  path = workdir / "config.json"
  data = json.dumps(record, indent=2).encode() + b"\n"
  workdir.mkdir(parents=True, exist_ok=True)
  if not path.exists():
    for name in _OUTPUTS:
      if (workdir / name).exists():
        raise ValueError(f"{workdir} has {name} but no config.json: not a run")
    write_atomic(path, data)
    return
  try:
    old = json.loads(path.read_text())
    same = old["fingerprint"] == fingerprint
    changes = _changes(old["config"], json.loads(json.dumps(config)))
    before = (old["versions"], old["device"])
  except (KeyError, TypeError, AttributeError, ValueError):
    raise ValueError(f"{path} is damaged or not of this program") from None
  if not same:
    why = "; ".join(changes) or "the image is another one"
    if not overwrite:
      raise ValueError(
        f"{workdir} holds another run: {why} (--overwrite deletes it, --name"
        " makes another folder)"
      )
    _delete_run(workdir)
    write_atomic(path, data)
    logging.info("%s: another run was deleted: %s", workdir, why)
  elif before != (record["versions"], record["device"]):
    logging.warning(
      "%s began with other versions or another device: the file may differ in"
      " its last bits from that of one run",
      workdir,
    )


def _versions() -> dict[str, str]:
  """Of the packages, and the commit where jaxgs runs from its repository."""
  found = {name: importlib.metadata.version(name) for name in _PACKAGES}
  root = pathlib.Path(jaxgs.__file__).parents[1]
  if (root / ".git").exists():
    options = ("--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
      done = subprocess.run(
        ["git", "-C", root, "describe", *options],
        capture_output=True,
        text=True,
        check=True,
      )
      found["commit"] = done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
      pass  # Without git there is no commit to tell.
  return found


def _delete_run(workdir: pathlib.Path) -> None:
  """Deletes what a run writes, the checkpoint first, and nothing else."""
  for name in sorted(_OUTPUTS, key=lambda name: name != "checkpoint.npz"):
    path = workdir / name
    if not path.is_dir():
      path.unlink(missing_ok=True)
      continue
    for pattern in _PICTURES:
      for picture in path.glob(pattern):
        picture.unlink()
    if not any(path.iterdir()):
      path.rmdir()


def _changes(old, new, name: str = "config") -> list[str]:
  """The settings that differ, in words."""
  if not (isinstance(old, dict) and isinstance(new, dict)):
    return [] if old == new else [f"{name} was {old!r} and is {new!r}"]
  lines = []
  for key in old.keys() | new.keys():
    lines += _changes(old.get(key), new.get(key), f"{name}.{key}")
  return sorted(lines)


def append_metrics(path: pathlib.Path, line: Mapping[str, float]) -> None:
  """Adds a line of JSON; a number that is not finite becomes null."""
  finite = {
    name: value if math.isfinite(value) else None
    for name, value in line.items()
  }
  with path.open("a") as file:
    file.write(json.dumps(finite) + "\n")


def cut_metrics(path: pathlib.Path, step: int) -> float:
  """Drops the lines after a step: the run that goes on writes them again.

  Args:
    path: Of the lines; it need not exist.
    step: Of the checkpoint; lines of a finished run go too.

  Returns:
    Seconds that the kept part of the run took.
  """
  kept, seconds = [], 0.0
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      row = json.loads(line)
      if row["step"] > step or "bytes" in row:
        break
      seconds = float(row["seconds"])
    except (ValueError, KeyError, TypeError):
      break  # A kill tore the last line.
    kept.append(line + "\n")
  write_atomic(path, "".join(kept).encode())
  return seconds
