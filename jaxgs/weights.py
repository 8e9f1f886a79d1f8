"""Where the weights of networks lie: they are not part of this package."""

import os
import pathlib

WHERE = "$JAXGS_WEIGHTS or ~/.cache/jaxgs/weights"


def weights_folder() -> pathlib.Path:
  """The folder for weights: $JAXGS_WEIGHTS, or ~/.cache/jaxgs/weights."""
  folder = os.environ.get("JAXGS_WEIGHTS")
  return pathlib.Path(folder or pathlib.Path.home() / ".cache/jaxgs/weights")
