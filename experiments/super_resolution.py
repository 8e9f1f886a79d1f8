"""Pictures drawn larger than what was fitted, beside classic enlargement.

A line of JSON per picture, factor and method; side by side in pictures/: the
original, bicubic, Lanczos, Gaussians.
"""

import json
import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import command, enlargement
from jaxgs.compilation_cache import use_compilation_cache

_CONFIG = config_flags.DEFINE_config_file(
  "config", "configs/super_resolution.py", "Settings.", lock_config=True
)
_DATA = flags.DEFINE_string("data_dir", None, "Folder of the images.")
_WORKDIR = flags.DEFINE_string(
  "workdir", "results/super_resolution", "Folder for all it writes."
)


def main() -> None:
  """Prints a line of JSON per result."""
  use_compilation_cache()
  settings = _CONFIG.value.to_dict()
  folder, workdir = pathlib.Path(_DATA.value), pathlib.Path(_WORKDIR.value)
  for row in enlargement.run(settings, folder, workdir):
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
  command.launch(main, required=("data_dir",))
