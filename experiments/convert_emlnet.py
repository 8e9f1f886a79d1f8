"""Turns the three published files of EML-Net into the one that jaxgs reads.

Links to res_imagenet.pth, res_places.pth and res_decoder.pth are in the README
of github.com/SenJia/EML-NET-Saliency. Reading them needs torch.
"""

import pathlib
from collections.abc import Mapping

import numpy as np
from absl import flags, logging

from experiments import command
from jaxgs.saliency.emlnet import Weights, variable_shapes
from jaxgs.saliency.weights import (
  FILE_NAME,
  WHERE,
  from_torch,
  save_weights,
  weights_folder,
)

_PARTS = Weights(
  imagenet="res_imagenet.pth",
  places="res_places.pth",
  decoder="res_decoder.pth",
)
_FILES = Weights(
  *(
    flags.DEFINE_string(part, None, f"{name} (default: in {WHERE}).")
    for part, name in _PARTS._asdict().items()
  )
)
_OUT = flags.DEFINE_string("out", None, f"{FILE_NAME} (default: in {WHERE}).")


def convert(states: Weights) -> Weights:
  """Variables of the networks from their state dicts.

  Args:
    states: Mappings of torch's names to arrays, see `from_torch`.

  Returns:
    Trees of float32 arrays.

  Raises:
    ValueError: A variable is missing or has another shape; says of what.
  """
  shapes = variable_shapes()
  found = []
  for part, state, wanted in zip(_PARTS._fields, states, shapes, strict=True):
    try:
      found.append(from_torch(state, wanted))
    except ValueError as error:
      raise ValueError(f"--{part}: {error}") from error
  return Weights(*found)


def read_state(path: pathlib.Path) -> Mapping[str, np.ndarray]:
  """The state dict in a file of torch.

  Args:
    path: Holds a state dict, or a dict with one under "state_dict".

  Returns:
    Arrays by name.

  Raises:
    FileNotFoundError: There is no file.
    ValueError: torch is not there, or cannot read the file as plain tensors.
  """
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: no such file; links to {', '.join(_PARTS)} are in the README of"
      f" github.com/SenJia/EML-NET-Saliency; put them in {WHERE}, or name them"
      " by --imagenet, --places and --decoder"
    )
  try:
    import torch
  except ModuleNotFoundError as error:
    raise ValueError(
      "torch is not installed: pip install 'jaxgs[convert]'"
    ) from error
  try:
    # weights_only: a pickle could run any code.
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    return {name: np.asarray(value) for name, value in state.items()}
  # Any: on damaged files it raises whatever its parsing trips on.
  except Exception as error:
    reason = str(error).split("\n")[0]
    raise ValueError(f"{path}: not tensors by name: {reason}") from error


def main() -> None:
  """Runs with the flags."""
  folder = weights_folder()
  paths = [
    pathlib.Path(flag.value) if flag.value else folder / name
    for flag, name in zip(_FILES, _PARTS, strict=True)
  ]
  weights = convert(Weights(*(read_state(path) for path in paths)))
  out = pathlib.Path(_OUT.value) if _OUT.value else folder / FILE_NAME
  out.parent.mkdir(parents=True, exist_ok=True)
  save_weights(out, weights)
  logging.info("%s: %d bytes", out, out.stat().st_size)


if __name__ == "__main__":
  command.launch(main, ())
