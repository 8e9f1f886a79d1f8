"""Optimises Gaussians so that their rendering shows an image.

`fit` is one traceable function. A host that wants to report, save or stop
early drives `fit_chunk` itself; see `compress.fit_image`.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgs import optim
from jaxgs.backends import resolve_backend
from jaxgs.config import FitConfig
from jaxgs.dequantize import Transform
from jaxgs.growth import grow_or_relocate
from jaxgs.losses import image_loss_and_mse
from jaxgs.quantize import DeviceLattice, canonicalize, quantize
from jaxgs.state import FitState, Share, draw, init_fit, share_of
from jaxgs.types import Gaussians2D


class FitResult(NamedTuple):
  """What `fit` returns.

  Attributes:
    gaussians: N Gaussians; quantised if a lattice was given.
    active: (N,) bool.
    psnr_db: (chunks,) float32, of the last step of each chunk.
    dropped: () int32, see FitState.
  """

  gaussians: Gaussians2D
  active: jax.Array
  psnr_db: jax.Array
  dropped: jax.Array


# When the fields settle on the lattice, splat by splat, as shares of the
# quantised steps (first and last), and the factor on their learning rates until
# they do. All at once, with straight-through gradients, costs 0.5 to 0.75 dB
# more at the same lattice: what is still free makes up for what is not. (Eight
# Kodak crops, N = 1250, 2000 steps, 41 bits per splat: whole fields at a time
# but for the colours, -0.06 dB; all fields spread over most of the time, -0.11;
# without the factors, 0.)
_SETTLES = Gaussians2D(
  mean=(0.4, 0.6),
  log_scale=(0.0, 0.2),
  angle=(0.2, 0.4),
  log_weight=(0.6, 0.75),
  feature=(0.7, 1.0),
)
_BOOST = Gaussians2D(
  mean=1.0, log_scale=1.0, angle=1.0, log_weight=2.0, feature=2.0
)


def _settled(progress: jax.Array, num_gaussians: int) -> Gaussians2D:
  """Which parameters are on the lattice: a bool (N,) or (N, 1) per field.

  Args:
    progress: () float32, share of the quantised steps done.
    num_gaussians: N.
  """
  # The order of the splats: the golden ratio spreads it evenly over any range
  # of indices, so over old and young splats alike.
  index = jnp.arange(num_gaussians, dtype=jnp.float32)
  rank = jnp.mod(index * 0.6180339887, 1.0)
  masks = Gaussians2D(
    *(rank < (progress - first) / (last - first) for first, last in _SETTLES)
  )
  return masks._replace(
    mean=masks.mean[:, None],
    log_scale=masks.log_scale[:, None],
    feature=masks.feature[:, None],
  )


def _bounded(
  gaussians: Gaussians2D, share: Share, config: FitConfig
) -> Gaussians2D:
  """Parameters within the bounds of the config, centres on the image."""
  corner = jnp.array([[share.width, share.height]], jnp.float32)
  log_weight = gaussians.log_weight
  if not config.use_weight:
    log_weight = jnp.zeros_like(log_weight)
  return Gaussians2D(
    mean=jnp.clip(gaussians.mean, 0.0, corner),
    log_scale=jnp.clip(gaussians.log_scale, *config.log_scale_range),
    angle=gaussians.angle,
    log_weight=jnp.clip(log_weight, *config.log_weight_range),
    feature=jnp.clip(gaussians.feature, *config.feature_range),
  )


def fit_step(
  state: FitState,
  image: jax.Array,
  config: FitConfig,
  *,
  rates: Gaussians2D,
  lattice: DeviceLattice | None = None,
  transform: Transform = "none",
  mask: jax.Array | None = None,
  share: Share | None = None,
  settling: jax.Array | None = None,
) -> FitState:
  """One step: draw, compare, differentiate, update.

  Args:
    state: Of the fit.
    image: (H, W, C) float32.
    config: Settings.
    rates: Learning rates, see `optim.rates_of`.
    lattice: Round, field after field, to this lattice.
    transform: Colour transform of the quantiser.
    mask: (H, W), 0 where the image is padding.
    share: Of the image; all of it and of the capacity when None.
    settling: () bool, whether the lattice is in force; always when None.

  Returns:
    The next state.
  """
  size = image.shape[:2]
  share = share or share_of(config, size, mask)
  factor = optim.schedule(state.step, state.decay_step, config)
  settled = None
  if lattice is not None:
    settling = jnp.bool(True) if settling is None else settling
    late = optim.schedule(state.step, state.decay_step, config, quantized=True)
    factor = jnp.where(settling, late, factor)
    progress = optim.quantized_progress(state.step, state.decay_step, config)
    settled = _settled(progress, state.active.shape[0])
    settled = jax.tree.map(lambda mask: mask & settling, settled)
    # What has settled stays: rounding it again gives the same symbols.
    rates = jax.tree.map(
      lambda rate, boost, mask: jnp.where(
        mask, 0.0, rate * jnp.where(settling, boost, 1.0)
      ),
      rates,
      _BOOST,
      settled,
    )
  rates = jax.tree.map(lambda rate: rate * factor, rates)

  def loss_of(gaussians):
    if lattice is not None:
      free = canonicalize(gaussians)
      rounded = quantize(
        free,
        lattice,
        height=share.height,
        width=share.width,
        transform=transform,
      )
      gaussians = jax.tree.map(jnp.where, settled, rounded, free)
    out = draw(gaussians, state.active, size, config)
    loss, mse = image_loss_and_mse(
      out.image,
      image,
      l1=config.l1,
      l2=config.l2,
      ssim=config.ssim,
      channel_weights=config.channel_weights,
      mask=mask,
      backend=config.raster.backend,
    )
    return loss, (mse, out.dropped)

  gradient, (mse, dropped) = jax.grad(loss_of, has_aux=True)(state.gaussians)
  gaussians, moments = optim.update(
    state.gaussians,
    gradient,
    state.moments,
    rates,
    scale_parameter=config.scale_parameter,
  )
  return state._replace(
    gaussians=_bounded(gaussians, share, config),
    moments=moments,
    step=state.step + 1,
    mse=mse,
    dropped=jnp.maximum(state.dropped, dropped),
  )


_STATIC = ("config", "transform", "num_steps")


@functools.partial(jax.jit, static_argnames=_STATIC)
def fit_chunk(
  state: FitState,
  image: jax.Array,
  config: FitConfig,
  *,
  rates: Gaussians2D | None = None,
  lattice: DeviceLattice | None = None,
  transform: Transform = "none",
  mask: jax.Array | None = None,
  num_gaussians: jax.Array | None = None,
  settling: jax.Array | None = None,
  grows: jax.Array | None = None,
  num_steps: int | None = None,
) -> FitState:
  """Some steps, then growth or relocation if its time has come.

  Args:
    state: Of the fit.
    image: (H, W, C) float32.
    config: Settings; its backend is resolved when traced.
    rates: Learning rates; those of the config when None.
    lattice: Round, field after field, to this lattice.
    transform: Colour transform of the quantiser.
    mask: (H, W), 0 where the image is padding.
    num_gaussians: () int32, see `init_fit`.
    settling: () bool, whether the lattice is in force; always when None.
    grows: () bool, whether either may be due after these steps. Under vmap,
      where both branches of a condition run, one value for all images saves
      the growth that is not due. Maybe when None.
    num_steps: `config.chunk_steps` when None.

  Returns:
    The state after the steps.
  """
  config = resolve(config)
  share = share_of(config, image.shape[:2], mask, num_gaussians)
  if rates is None:
    rates = optim.rates_of(config, share.spacing_px)

  def step(carry, _):
    carry = fit_step(
      carry,
      image,
      config,
      rates=rates,
      lattice=lattice,
      transform=transform,
      mask=mask,
      share=share,
      settling=settling,
    )
    return carry, None

  state = state._replace(dropped=jnp.int32(0))
  steps = config.chunk_steps if num_steps is None else num_steps
  state, _ = jax.lax.scan(step, state, length=steps)
  # Nothing moves on a lattice that is in force: less to compile.
  relocates = config.num_relocated > 0 and (
    lattice is None or settling is not None
  )
  if not (config.num_grown or relocates):
    return state

  def grown(state):
    return grow_or_relocate(
      state, image, config, mask=mask, share=share, relocates=relocates
    )

  if grows is None:
    return grown(state)
  return jax.lax.cond(grows, grown, lambda state: state, state)


def resolve(config: FitConfig) -> FitConfig:
  """The config with a concrete backend, so that it is a good cache key."""
  return dataclasses.replace(config, raster=resolve_backend(config.raster))


def default_rates(config: FitConfig, size: tuple[int, int]) -> Gaussians2D:
  """The config's learning rates for an image of (height, width) = size."""
  return optim.rates_of(config, share_of(config, size).spacing_px)


@functools.partial(jax.jit, static_argnames=("config", "transform"))
def fit(
  key: jax.Array,
  image: jax.Array,
  config: FitConfig,
  *,
  rates: Gaussians2D | None = None,
  lattice: DeviceLattice | None = None,
  transform: Transform = "none",
  importance: jax.Array | None = None,
  mask: jax.Array | None = None,
  num_gaussians: jax.Array | None = None,
) -> FitResult:
  """Fits Gaussians to an image: one program, for jit and vmap.

  Args:
    key: PRNG key.
    image: (H, W, C) float32 in [0, 1].
    config: Settings, static.
    rates: Learning rates (leaves: a sweep can map over them); those of the
      config when None.
    lattice: Quantise from `config.quantize_step` on, and at the end.
    transform: Colour transform of the quantiser.
    importance: (H, W), a density for the first Gaussians.
    mask: (H, W), how much a pixel counts, 0 to 1; 0 where the image is
      padding, below and to the right.
    num_gaussians: () int32, of this image, where the capacity is that of
      several; all of the capacity when None.

  Returns:
    FitResult. If `dropped` is not 0, the picture that was optimised missed
    splats: fit again with a larger `config.raster.max_pairs`.

  Raises:
    ValueError: More Gaussians than pixels.
  """
  state = init_fit(
    key,
    image,
    config,
    importance=importance,
    mask=mask,
    num_gaussians=num_gaussians,
  )
  share = share_of(config, image.shape[:2], mask, num_gaussians)
  chunk = functools.partial(
    fit_chunk,
    image=image,
    config=config,
    rates=rates,
    mask=mask,
    num_gaussians=num_gaussians,
    transform=transform,
  )
  free = config.num_steps if lattice is None else config.quantize_step
  traces = []
  dropped = state.dropped
  for steps, quantizer in ((free, None), (config.num_steps - free, lattice)):
    full, rest = divmod(steps, config.chunk_steps)

    def body(state, _, quantizer=quantizer):
      state = chunk(state, lattice=quantizer)
      return state, (state.mse, state.dropped)

    state, (mse, lost) = jax.lax.scan(body, state, length=full)
    if rest:
      state = chunk(state, lattice=quantizer, num_steps=rest)
      mse = jnp.append(mse, state.mse)
      lost = jnp.append(lost, state.dropped)
    traces.append(mse)
    dropped = jnp.max(lost, initial=dropped)
  gaussians = state.gaussians
  if lattice is not None:
    gaussians = quantize(
      gaussians,
      lattice,
      height=share.height,
      width=share.width,
      transform=transform,
    )
  psnr_db = -10.0 * jnp.log10(jnp.concatenate(traces))
  return FitResult(gaussians, state.active, psnr_db, dropped)
