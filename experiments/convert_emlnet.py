"""Turns the three published files of EML-Net into the one that jaxgs reads.

Links to res_imagenet.pth, res_places.pth and res_decoder.pth are in the README
of github.com/SenJia/EML-NET-Saliency. Reading them needs torch.
"""

import pathlib

from absl import flags, logging

from experiments import command
from experiments.torch_weights import read_state_dict
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
    states: See `torch_weights.read_state_dict` and `from_torch`.

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


def main() -> None:
  """Runs with the flags."""
  folder = weights_folder()
  paths = [
    pathlib.Path(flag.value) if flag.value else folder / name
    for flag, name in zip(_FILES, _PARTS, strict=True)
  ]
  for path in paths:
    if not path.is_file():
      raise FileNotFoundError(
        f"{path}: no such file; links to {', '.join(_PARTS)} are in the README"
        f" of github.com/SenJia/EML-NET-Saliency; put them in {WHERE}, or name"
        " them by --imagenet, --places and --decoder"
      )
  weights = convert(Weights(*(read_state_dict(path) for path in paths)))
  out = pathlib.Path(_OUT.value) if _OUT.value else folder / FILE_NAME
  out.parent.mkdir(parents=True, exist_ok=True)
  save_weights(out, weights)
  logging.info("%s: %d bytes", out, out.stat().st_size)


if __name__ == "__main__":
  command.launch(main, ())
