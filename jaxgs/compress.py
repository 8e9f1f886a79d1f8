"""Image to bytes: the glue, to be read from top to bottom."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs import codec
from jaxgs.binning import default_max_pairs
from jaxgs.config import CompressConfig, FitConfig, QuantConfig
from jaxgs.dequantize import Transform
from jaxgs.fit import fit_chunk, resolve
from jaxgs.job import Job
from jaxgs.picture import band_size
from jaxgs.quantize import device_lattice
from jaxgs.state import FitState, init_fit

Report = Callable[[FitState], None]


def fit_image(
  key: jax.Array,
  image: jax.Array,
  config: FitConfig,
  *,
  lattice: codec.Lattice | None = None,
  quant: QuantConfig | None = None,
  transform: Transform = "none",
  importance: jax.Array | None = None,
  mask: jax.Array | None = None,
  state: FitState | None = None,
  until: int | None = None,
  report: Report | None = None,
) -> FitState:
  """Fits one image from the host: reports, stops early, makes room.

  Args:
    key: PRNG key.
    image: (H, W, C) float32 in [0, 1].
    config: Settings.
    lattice: Round from `config.quantize_step` on (or as long before the end,
      if an early stop brings that forward).
    quant: See `fit_chunk`.
    transform: Colour transform of the quantiser.
    importance: (H, W), a density for the first Gaussians.
    mask: (H, W) in (0, 1], how much a pixel counts: in the loss, and for where
      Gaussians are; all alike when None.
    state: Go on from here instead of from the start.
    until: Stop at this step; None: at the end. Without a lattice the fit then
      also stops where rounding would begin, even if an early stop has brought
      that forward: it is to go on with one.
    report: Called with the state after every chunk.

  Returns:
    The last state. Parameters are not rounded yet.

  Raises:
    ValueError: More Gaussians than pixels.
  """
  config = resolve(config)
  image = jnp.asarray(image, jnp.float32)
  steps_on_device = None if lattice is None else device_lattice(lattice)
  if mask is not None:
    mask = jnp.asarray(mask, jnp.float32)
  if state is None:
    state = init_fit(key, image, config, importance=importance, mask=mask)
  decay_steps = config.num_steps - config.decay_step
  while True:
    step, decay_step = int(state.step), int(state.decay_step)
    end = min(
      decay_step + decay_steps, config.num_steps if until is None else until
    )
    turn = decay_step + config.quantize_step - config.decay_step
    if lattice is None and until is not None:
      end = min(end, turn)
    if step >= end:
      return state
    quantized = lattice is not None and step >= turn
    stops = [end] if quantized or lattice is None else [end, turn]
    chunk_end = step - step % config.chunk_steps + config.chunk_steps
    new = fit_chunk(
      state,
      image,
      config,
      lattice=steps_on_device if quantized else None,
      quant=quant,
      transform=transform,
      mask=mask,
      num_steps=min(chunk_end, *stops) - step,
    )
    if int(new.dropped):
      # Splats were missing from the picture: the same steps again with room.
      config = with_more_pairs(config, image.shape[:2])
      continue
    state = new._replace(past_mse=jnp.append(new.past_mse[1:], new.mse))
    if int(state.step) < decay_step and _has_stalled(state, config):
      state = state._replace(decay_step=state.step)
    # Last: what is reported is all that a later run needs to go on.
    if report is not None:
      report(state)


def _has_stalled(state: FitState, config: FitConfig) -> bool:
  """Whether the PSNR gained too little over the last `stop_steps` steps."""
  if config.stop_gain_db <= 0 or not bool(jnp.all(state.active)):
    return False
  before = float(state.past_mse[0])
  now = max(float(state.past_mse[-1]), 1e-12)
  # inf before there were as many steps: then the gain is infinite.
  return 10.0 * np.log10(before / now) < config.stop_gain_db


def with_more_pairs(config: FitConfig, size: tuple[int, int]) -> FitConfig:
  """The config with twice the room for tile-splat pairs."""
  spec = config.raster
  pairs = spec.max_pairs or default_max_pairs(
    config.num_gaussians, *band_size(config, size), spec.tile
  )
  return dataclasses.replace(
    config, raster=dataclasses.replace(spec, max_pairs=2 * pairs)
  )


def compress(
  image: np.ndarray,
  config: CompressConfig | None = None,
  *,
  key: jax.Array | None = None,
  bit_depth: int | None = None,
  has_alpha: bool | None = None,
  sample: str = "integer",
  curve: str | None = None,
  alpha: str | None = None,
  icc: bytes | None = None,
  importance: jax.Array | None = None,
  mask: np.ndarray | None = None,
  report: Report | None = None,
) -> bytes:
  """Turns an image into the bytes of a `.jgs` file.

  Args:
    image: (H, W) or (H, W, C) uint8, uint16, or float: in [0, 1], or with a
      curve any finite values >= 0, in linear light.
    config: Settings; CompressConfig() when None, with a number of Gaussians
      that suits the size.
    key: PRNG key; a fixed one when None.
    bit_depth: 8 or 16, of the decoded picture; the image's when None.
    has_alpha: Whether the last channel is alpha, which is in [0, 1] and by
      which colours are not multiplied; for 2 and 4 channels when None.
    sample: "integer", "half" or "float", of the decoded picture.
    curve: "none", "log" or "pu" (see `codec.Map`); when None, "none" for
      integers and "log" for the others.
    alpha: Store colours "straight" or "premultiplied" by alpha: the latter,
      when None, spends nothing on colours that alpha hides.
    icc: A colour profile to store.
    importance: (H, W), a density for the first Gaussians.
    mask: (H, W) in (0, 1], how much a pixel counts, see
      `saliency.pixel_mask`; all alike when None.
    report: Called with the FitState after every chunk of steps.

  Returns:
    The file.

  Raises:
    ValueError: The image, the mask or a setting is out of range.
  """
  job = Job.of(
    image,
    config,
    bit_depth=bit_depth,
    has_alpha=has_alpha,
    sample=sample,
    curve=curve,
    alpha=alpha,
    icc=icc,
    mask=mask,
  )
  return compress_job(job, key=key, importance=importance, report=report)


def compress_job(
  job: Job,
  *,
  key: jax.Array | None = None,
  importance: jax.Array | None = None,
  report: Report | None = None,
) -> bytes:
  """`compress` of an image that is ready; its other arguments."""
  key = jax.random.key(0) if key is None else key
  lattice = job.lattice()
  fit = functools.partial(
    fit_image,
    key,
    job.target,
    job.config.fit,
    quant=job.config.quant,
    transform=job.transform,
    importance=importance,
    mask=job.mask,
    report=report,
  )
  state = None
  if job.config.quant.measured:
    # Steps can only be measured once there are Gaussians to measure.
    state = fit(until=job.config.fit.quantize_step)
    lattice = job.lattice(state)
  state = fit(lattice=lattice, state=state)
  return job.encode(state.gaussians, state.active, lattice)
