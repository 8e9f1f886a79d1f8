"""`jaxgs saliency`: where people look; and `--saliency` of other commands."""

import threading
import time
from collections.abc import Callable

import numpy as np

from jaxgs.cli.jgs_file import check_distinct
from jaxgs.cli.report import CliError, Report
from jaxgs.io import check_format, check_writable, read_image, write_image

# (H, W, C) float32 pixels to a (H, W) map.
MapOf = Callable[[np.ndarray], np.ndarray]


def run(args) -> Report:
  """Writes the map of a picture."""
  from jaxgs.compilation_cache import use_compilation_cache

  check_writable(args.output)
  # As encode takes it: of linear light what a screen can show.
  pixels = np.clip(read_image(args.input).pixels, 0, 1)
  check_distinct(args.input, args.output)
  check_format(args.output, (*pixels.shape[:2], 1), has_alpha=False)
  use_compilation_cache()
  began = time.perf_counter()
  found = map_source(args.model)(pixels)
  write_image(args.output, found[..., None])
  seconds = time.perf_counter() - began
  height, width = found.shape
  return Report(f"{args.output}: {width}x{height} pixels, {seconds:.1f} s", {})


def mask_source(name: str | None) -> Callable[[np.ndarray], np.ndarray | None]:
  """How much pixels count, by the argument of --saliency.

  Args:
    name: "spectral", "emlnet", a file, or None: no mask.

  Returns:
    A function of pixels, (H, W, C) to (H, W) or None. Threads may share it.

  Raises:
    CliError: What the network needs is not installed.
    OSError: Its weights are not there.
    ImageError: The file cannot be read, or is black everywhere.
  """
  if name is None:
    return lambda pixels: None
  from jaxgs.saliency import pixel_mask

  map_of = map_source(name)
  return lambda pixels: pixel_mask(map_of(pixels))


def map_source(name: str) -> MapOf:
  """The maps themselves; see `mask_source`."""
  from jaxgs import saliency

  if name == "emlnet":
    return _emlnet()
  if name == "spectral":
    return lambda pixels: np.asarray(saliency.spectral_residual(pixels))
  found = saliency.read_map(name)
  return lambda pixels: saliency.resize_map(found, pixels.shape[:2])


def _emlnet() -> MapOf:
  try:
    from jaxgs.saliency.emlnet import emlnet_saliency
    from jaxgs.saliency.weights import load_weights
  except ModuleNotFoundError as error:
    raise CliError(
      f"emlnet needs {error.name}: pip install 'jaxgs[networks]'"
    ) from error
  weights = load_weights()
  # One picture takes all cores, and some 400 MB.
  lock = threading.Lock()

  def map_of(pixels: np.ndarray) -> np.ndarray:
    with lock:
      return np.asarray(emlnet_saliency(weights, pixels))

  return map_of
