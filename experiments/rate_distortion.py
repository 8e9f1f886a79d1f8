"""Rate and distortion on a folder of images: jaxgs against other codecs.

Every figure is of a real file, written and decoded in this run. Kill it at any
moment and start it again: it goes on with the file that was missing. Settings,
codecs and images may change between starts: what stays the same is not done
again.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import command, rd_measure

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Settings: configs/kodak.py.", lock_config=True
)
_DATA = flags.DEFINE_string("data_dir", None, "Folder of the images.")
_WORKDIR = flags.DEFINE_string(
  "workdir", "results/rate_distortion", "Folder for all it writes."
)
_SUBSET = flags.DEFINE_integer(
  "subset", None, "So many of the images, evenly spaced.", lower_bound=1
)


def main() -> None:
  """Prints the tables."""
  settings = _CONFIG.value.to_dict()
  folder, workdir = pathlib.Path(_DATA.value), pathlib.Path(_WORKDIR.value)
  tables = rd_measure.run(settings, folder, workdir, _SUBSET.value)
  print(tables, end="")


if __name__ == "__main__":
  command.launch(main, required=("config", "data_dir"))
