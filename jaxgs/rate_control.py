"""Files of a wanted size or quality: chooses N and the coarseness."""

import dataclasses
import math

import jax
import numpy as np

from jaxgs import codec
from jaxgs.compress import Report, compress_job, fit_image
from jaxgs.config import CompressConfig
from jaxgs.decompress import draw_maps, own_pixels
from jaxgs.job import Job

# Where the search for N begins: Kodak at 0.5 bit per pixel.
_BITS_PER_SPLAT = 39.5
_DB_PER_DOUBLING = 2.9

# Beyond 8 pixels per splat a lossless file is smaller.
_FEWEST_PIXELS_PER_SPLAT = 8

# Steps finer or coarser than this by a factor mean that N is wrong.
_COARSENESS_RANGE = (0.4, 3.0)


class TargetError(ValueError):
  """The size or quality asked for cannot be reached; says what was."""


def most_gaussians(height: int, width: int) -> int:
  """The largest N that a target may lead to."""
  pixels = height * width
  return min(pixels, max(64, pixels // _FEWEST_PIXELS_PER_SPLAT))


def _with_gaussians(job: Job, n: int) -> Job:
  fit = dataclasses.replace(job.config.fit, num_gaussians=n)
  config = dataclasses.replace(job.config, fit=fit)
  return dataclasses.replace(job, config=config)


def _job(image, config: CompressConfig, options) -> Job:
  # The config's own N, which may be too large for the image, is not used.
  fit = dataclasses.replace(config.fit, num_gaussians=1)
  return Job.of(image, dataclasses.replace(config, fit=fit), **options)


def compress_to_size(
  image: np.ndarray,
  num_bytes: int,
  config: CompressConfig,
  *,
  key: jax.Array | None = None,
  tolerance: float = 0.02,
  report: Report | None = None,
  **image_options,
) -> bytes:
  """Compresses into a file of a wanted size.

  N follows from the size; after the free part of the fit the coarseness of the
  lattice is chosen so that the file has the size, and corrected while the fit
  goes on with quantised parameters.

  Args:
    image: As in `compress`.
    num_bytes: Wanted len(file).
    config: Settings; N and coarseness are chosen.
    key: PRNG key; a fixed one when None.
    tolerance: Relative error of the size that ends the search.
    report: Called with the FitState after every chunk of steps.
    **image_options: `compress`'s of the picture: bit_depth to mask.

  Returns:
    The file.

  Raises:
    TargetError: No number of splats and no coarseness gives the size within
      3 %.
  """
  return job_to_size(
    _job(image, config, image_options),
    num_bytes,
    key=key,
    tolerance=tolerance,
    report=report,
  )


def job_to_size(
  job: Job,
  num_bytes: int,
  *,
  key: jax.Array | None = None,
  tolerance: float = 0.02,
  report: Report | None = None,
) -> bytes:
  """`compress_to_size` of an image that is ready; its other arguments."""
  key = jax.random.key(0) if key is None else key
  height, width, channels = job.image.shape
  most = most_gaussians(height, width)
  # As many values as channels, and six more.
  bits = _BITS_PER_SPLAT * (channels + 6) / 9
  n = int(np.clip(8 * num_bytes / bits, 1, most))
  for _ in range(4):
    job = _with_gaussians(job, n)
    fit = job.config.fit
    state = fit_image(
      key,
      job.target,
      fit,
      quant=job.config.quant,
      transform=job.transform,
      mask=job.mask,
      until=fit.quantize_step,
      report=report,
    )
    coarseness, size = _solve_coarseness(job, state, num_bytes)
    low, high = _COARSENESS_RANGE
    if low < coarseness < high:
      data = _refine(job, state, key, coarseness, num_bytes, tolerance, report)
      size = len(data)
      if abs(size / num_bytes - 1) <= 0.03:
        return data
    again = int(np.clip(n * num_bytes / size, 1, most))
    if again == n:
      break
    n = again
  raise TargetError(
    f"cannot reach {num_bytes} bytes: the nearest is {size} bytes with {n}"
    " Gaussians"
  )


def _size(job: Job, state, coarseness: float) -> int:
  quant = dataclasses.replace(job.config.quant, coarseness=coarseness)
  return len(
    job.encode(state.gaussians, state.active, job.lattice(state, quant))
  )


def _solve_coarseness(job: Job, state, num_bytes: int) -> tuple[float, int]:
  """The coarseness at which the state takes num_bytes, by bisection.

  Returns:
    The coarseness (an end of the range if it is outside), and the size there.
  """
  low, high = (math.log(x) for x in _COARSENESS_RANGE)
  for end in (low, high):
    size = _size(job, state, math.exp(end))
    if (size < num_bytes) == (end == low):
      return math.exp(end), size
  for _ in range(12):
    middle = 0.5 * (low + high)
    size = _size(job, state, math.exp(middle))
    low, high = (middle, high) if size > num_bytes else (low, middle)
    if abs(size / num_bytes - 1) < 2e-3:
      break
  return math.exp(middle), size


def _refine(job, state, key, coarseness, num_bytes, tolerance, report) -> bytes:
  """Settles the splats on the lattice, again if the size came out wrong.

  The size changes while they settle, by a share that stays much the same from
  one lattice to the next: the second try is as good as exact.
  """
  best = None
  for _ in range(4):
    quant = dataclasses.replace(job.config.quant, coarseness=coarseness)
    lattice = job.lattice(state, quant)
    end = fit_image(
      key,
      job.target,
      job.config.fit,
      lattice=lattice,
      quant=job.config.quant,
      transform=job.transform,
      mask=job.mask,
      state=state,
      report=report,
    )
    data = job.encode(end.gaussians, end.active, lattice)
    error = len(data) / num_bytes - 1
    if best is None or abs(error) < abs(len(best) / num_bytes - 1):
      best = data
    if abs(error) <= tolerance:
      break
    # About nine fields shrink by log2(coarseness) bits each.
    bits = 8 * len(data) / job.config.fit.num_gaussians
    coarseness *= 2.0 ** (error * bits / 9)
  return best


def compress_to_psnr(
  image: np.ndarray,
  psnr_db: float,
  config: CompressConfig,
  *,
  key: jax.Array | None = None,
  slack_db: float = 0.25,
  report: Report | None = None,
  **image_options,
) -> bytes:
  """Compresses into a small file of at least a wanted quality.

  Args:
    image: As in `compress`.
    psnr_db: Least PSNR of the decoded picture, see `Job.psnr_db`.
    config: Settings; N is chosen.
    key: PRNG key; a fixed one when None.
    slack_db: A PSNR this much over the wanted ends the search; 0.25 dB are
      about 6 % of the bytes.
    report: Called with the FitState after every chunk of steps.
    **image_options: `compress`'s of the picture: bit_depth to mask.

  Returns:
    The smallest file found that has the quality.

  Raises:
    TargetError: Not even the largest number of Gaussians has the quality.
  """
  return job_to_psnr(
    _job(image, config, image_options),
    psnr_db,
    first=config.fit.num_gaussians,
    key=key,
    slack_db=slack_db,
    report=report,
  )


def job_to_psnr(
  job: Job,
  psnr_db: float,
  *,
  first: int,
  key: jax.Array | None = None,
  slack_db: float = 0.25,
  report: Report | None = None,
) -> bytes:
  """`compress_to_psnr` of an image that is ready, N being `first` at first."""
  height, width, _ = job.image.shape
  most = most_gaussians(height, width)
  n = min(first, most)
  tried: dict[int, tuple[float, bytes]] = {}
  for _ in range(8):
    job = _with_gaussians(job, n)
    data = compress_job(job, key=key, report=report)
    header, symbols = codec.decode(data)
    drawn = draw_maps(header, symbols, max_pixels=own_pixels(header))
    reached = job.psnr_db(drawn)
    tried[n] = reached, data
    if psnr_db <= reached <= psnr_db + slack_db:
      break
    n = _next_number(tried, psnr_db + 0.4 * slack_db, most)
    if n in tried:
      break
  good = [data for reached, data in tried.values() if reached >= psnr_db]
  if not good:
    n = max(tried)
    raise TargetError(
      f"cannot reach {psnr_db:.2f} dB: {tried[n][0]:.2f} dB with {n} Gaussians"
    )
  return min(good, key=len)


def _next_number(tried, goal_db: float, most: int) -> int:
  """N for the goal: between the nearest two on either side, or beyond."""
  points = sorted((n, reached) for n, (reached, _) in tried.items())
  below = [p for p in points if p[1] < goal_db]
  above = [p for p in points if p[1] >= goal_db]
  if below and above:
    (n0, db0), (n1, db1) = below[-1], above[0]
    share = (goal_db - db0) / max(db1 - db0, 1e-3)
    # The estimate stays off the ends, so that the bracket always shrinks.
    share = float(np.clip(share, 0.1, 0.9))
    n = n0 * (n1 / n0) ** share if n1 > n0 else n0
  else:
    n, db = below[-1] if below else above[0]
    # Not more than a factor of 8 at once: far away the slope is a guess.
    doublings = np.clip((goal_db - db) / _DB_PER_DOUBLING, -3.0, 3.0)
    n *= 2.0 ** float(doublings)
  return int(np.clip(round(n), 1, most))
