"""How close two pictures are, by the metrics that are asked for."""

import math
from typing import NamedTuple

import numpy as np

from jaxgs.cli.parsing import METRICS
from jaxgs.cli.report import CliError
from jaxgs.codec import Map
from jaxgs.transfer import premultiply

# Larger pictures are compared by bands of rows, where a metric is a mean.
_WHOLE_PX = 1 << 24
_BAND_PX = 1 << 22

# What a metric tells: the names among the facts, and the words for people.
_SHOWN = {
  "psnr_db": "PSNR {:.2f} dB",
  "log_psnr_db": "log-PSNR {:.2f} dB",
  "pu_psnr_db": "PU-PSNR {:.2f} dB",
  "ssim": "SSIM {:.4f}",
  "ms_ssim": "MS-SSIM {:.4f}",
  "flip": "FLIP {:.4f}",
  "lpips": "LPIPS {:.4f}",
}

# Where nobody asks for others.
DEFAULT_METRICS = ("psnr", "ssim", "ms_ssim")

# What they tell of linear light, where the range of the values is open. The
# other metrics take values from 0 to 1.
_OF_LIGHT = ("psnr", "flip")


class Scores(NamedTuple):
  """What is known of two pictures.

  Attributes:
    found: Scores by the names of facts.
    left_out: What could not be had, as lines.
  """

  found: dict[str, float]
  left_out: list[str]


def measure(
  args, reference: np.ndarray, pixels: np.ndarray, one: Map
) -> Scores:
  """The scores by name.

  Args:
    args: `metrics`, and the options of FLIP and LPIPS.
    reference: (H, W, C) float32 as read.
    pixels: To be judged, as `reference`.
    one: What their channels are.

  Returns:
    Scores; of all metrics and of DEFAULT_METRICS those that can be had.

  Raises:
    CliError: A metric that is asked for by name cannot be had.
  """
  from jaxgs.compilation_cache import use_compilation_cache

  use_compilation_cache()
  wants_all = args.metrics == ("all",)
  names = METRICS if wants_all else args.metrics or DEFAULT_METRICS
  found, left_out = {}, []
  for name in names:
    if one.curve != "none" and name not in _OF_LIGHT and not args.metrics:
      continue
    try:
      found |= _score(args, name, reference, pixels, one)
    # Channels, sizes, weights or packages that a metric cannot do with.
    except (ValueError, OSError, ImportError) as error:
      if not wants_all:
        raise CliError(f"{name}: {error}") from error
      left_out.append(f"{name} is left out: {error}")
  return Scores(found, left_out)


def scores_text(scores: dict) -> str:
  """Scores in words."""
  return ", ".join(_SHOWN[name].format(score) for name, score in scores.items())


def _score(args, name: str, reference, pixels, one: Map) -> dict:
  import jax.numpy as jnp

  from jaxgs import metrics

  if one.curve != "none" and name not in _OF_LIGHT:
    raise ValueError("takes values from 0 to 1, not linear light")
  if name == "lpips":
    weights = metrics.load_lpips_weights(network=args.lpips_network)
    a, b = jnp.asarray(reference), jnp.asarray(pixels)
    return {name: float(metrics.lpips(a, b, weights=weights))}
  if name == "flip":
    options = {"pixels_per_degree": args.pixels_per_degree}
    flip = metrics.flip if one.curve == "none" else metrics.hdr_flip
    a, b = jnp.asarray(reference), jnp.asarray(pixels)
    return {name: float(flip(a, b, **options))}
  is_large = reference.shape[0] * reference.shape[1] > _WHOLE_PX
  if is_large and one.curve == "none" and name in ("psnr", "ssim"):
    return _by_bands(name, reference, pixels, one)
  # Here colours count by their alpha.
  if one.has_alpha:
    reference, pixels = premultiply(reference), premultiply(pixels)
  if one.curve == "none":
    a, b = jnp.asarray(reference), jnp.asarray(pixels)
    fact = "psnr_db" if name == "psnr" else name
    return {fact: float(getattr(metrics, name)(a, b))}
  colors = slice(one.num_colors)
  a, b = jnp.asarray(pixels[..., colors]), jnp.asarray(reference[..., colors])
  return {
    "log_psnr_db": float(metrics.log_psnr(a, b)),
    "pu_psnr_db": float(metrics.pu_psnr(a, b)),
  }


def _by_bands(name: str, reference, pixels, one: Map) -> dict:
  """PSNR or SSIM of the whole picture, in little memory."""
  import jax.numpy as jnp

  from jaxgs import metrics
  from jaxgs.metrics.ssim import WINDOW_PX

  # Windows of SSIM lie within the picture: bands overlap by one less.
  overlap = WINDOW_PX - 1 if name == "ssim" else 0
  height, width, _ = reference.shape
  places = height - overlap
  rows = max(_BAND_PX // width, 1)
  mean_of = metrics.ssim if name == "ssim" else metrics.mse
  total = 0.0
  for top in range(0, places, rows):
    count = min(rows, places - top)
    band = slice(top, top + count + overlap)
    a, b = reference[band], pixels[band]
    if one.has_alpha:
      a, b = premultiply(a), premultiply(b)
    total += count * float(mean_of(jnp.asarray(a), jnp.asarray(b)))
  if name == "ssim":
    return {"ssim": total / places}
  if total == 0:
    return {"psnr_db": math.inf}
  return {"psnr_db": -10 * math.log10(total / places)}
