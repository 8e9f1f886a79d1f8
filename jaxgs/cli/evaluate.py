"""`jaxgs eval`: how close a picture is to another."""

import os

import numpy as np

from jaxgs.cli.arguments import METRICS
from jaxgs.cli.jgs_file import (
  check_distinct,
  draw_jgs,
  is_jgs,
  read_jgs,
  to_float,
)
from jaxgs.cli.report import CliError, Report, check_backend, note
from jaxgs.decompress import spec_of
from jaxgs.io import check_format, check_writable, read_image, write_image

# The name among the facts, and the words for people.
_SHOWN = {
  "psnr": ("psnr_db", "PSNR {:.2f} dB"),
  "ssim": ("ssim", "SSIM {:.4f}"),
  "ms_ssim": ("ms_ssim", "MS-SSIM {:.4f}"),
  "flip": ("flip", "FLIP {:.4f}"),
  "lpips": ("lpips", "LPIPS {:.4f}"),
}


def run(args) -> Report:
  """Measures a file or an image against a reference."""
  if args.error_map:
    check_writable(args.error_map)
    check_distinct(args.reference, args.error_map)
    check_distinct(args.input, args.error_map)
  reference = read_image(args.reference).pixels
  height, width, _ = reference.shape
  if args.error_map:
    check_format(args.error_map, (height, width, 3), has_alpha=False)
  pixels, size = _read(args, reference.shape)
  scores = _measure(args, reference, pixels)
  if args.error_map:
    _write_error_map(args, reference, pixels)
  bpp = 8 * size / (height * width)
  words = [_SHOWN[name][1].format(value) for name, value in scores.items()]
  return Report(
    ", ".join([*words, f"{bpp:.3f} bpp"]),
    {
      "bytes": size,
      "bpp": bpp,
      **{_SHOWN[name][0]: value for name, value in scores.items()},
    },
  )


def _read(args, wanted: tuple[int, int, int]) -> tuple[np.ndarray, int]:
  """The pixels to judge, float32 in [0, 1], and the bytes of their file."""
  from_jgs = is_jgs(args.input)
  if from_jgs:
    jgs = read_jgs(args.input)
    header = jgs.header
    size = len(jgs.data)
    shape = (header.height, header.width, header.channels)
  else:
    pixels = read_image(args.input).pixels
    size, shape = os.path.getsize(args.input), pixels.shape
  # Before drawing: a small file may declare a picture of any size.
  if shape != wanted:
    raise CliError(
      f"{args.input} is {shape[1]}x{shape[0]} with {shape[2]} channels,"
      f" {args.reference} is {wanted[1]}x{wanted[0]} with {wanted[2]}"
    )
  if from_jgs:
    check_backend(spec_of(header), decode=True)
    pixels = to_float(draw_jgs(args.input, jgs))
  return pixels, size


def _measure(args, reference: np.ndarray, pixels: np.ndarray) -> dict:
  """The values by name; of all, those that can be had."""
  import jax.numpy as jnp

  from jaxgs.compilation_cache import use_compilation_cache

  use_compilation_cache()
  a, b = jnp.asarray(reference), jnp.asarray(pixels)
  wants_all = args.metrics == ("all",)
  scores = {}
  for name in METRICS if wants_all else args.metrics:
    try:
      scores[name] = float(_score(args, name, a, b))
    # Channels, sizes, weights or packages that a metric cannot do with.
    except (ValueError, OSError, ImportError) as error:
      if not wants_all:
        raise CliError(f"{name}: {error}") from error
      note("eval", f"{name} is left out: {error}")
  return scores


def _score(args, name: str, a, b):
  from jaxgs import metrics

  if name == "lpips":
    weights = metrics.load_lpips_weights(network=args.lpips_network)
    return metrics.lpips(a, b, weights=weights)
  if name == "flip":
    return metrics.flip(a, b, pixels_per_degree=args.pixels_per_degree)
  return getattr(metrics, name)(a, b)


def _write_error_map(args, reference: np.ndarray, pixels: np.ndarray) -> None:
  """Draws where two pictures differ."""
  import jax.numpy as jnp

  from jaxgs import metrics
  from jaxgs.metrics.color import to_rgb

  a, b = jnp.asarray(reference), jnp.asarray(pixels)
  try:
    if args.error_map_kind == "absolute":
      error = jnp.abs(to_rgb(a) - to_rgb(b)) * args.error_gain
      colored = np.clip(np.asarray(error), 0.0, 1.0)
    else:
      error = metrics.flip_map(a, b, pixels_per_degree=args.pixels_per_degree)
      colored = _magma(np.asarray(error))
  except ValueError as error:  # Channels that are no picture.
    raise CliError(f"--error_map: {error}") from error
  write_image(args.error_map, colored)


def _magma(values: np.ndarray) -> np.ndarray:
  """Colours of (H, W) in [0, 1]: (H, W, 3), from black over red to white."""
  try:
    import matplotlib
  except ModuleNotFoundError:
    raise CliError(
      "--error_map_kind flip needs matplotlib: pip install"
      " 'jaxgs[experiments]', or take --error_map_kind absolute"
    ) from None
  return matplotlib.colormaps["magma"](values)[..., :3].astype(np.float32)
