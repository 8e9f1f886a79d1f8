"""Where a fit has its Gaussians: new ones, and those that move.

Capacity is static, so both fill slots of a fixed pool.
"""

import jax
import jax.numpy as jnp

from jaxgs.bands import Band, over_bands, put_rows, rows_at
from jaxgs.config import FitConfig
from jaxgs.init import place, spread
from jaxgs.picture import band_of, band_size, error_of, weights_of
from jaxgs.project import project
from jaxgs.state import (
  FitState,
  Share,
  all_active,
  channel_roots,
  draw_splats,
)
from jaxgs.types import Gaussians2D, Splats


def grow_or_relocate(
  state: FitState,
  image: jax.Array,
  config: FitConfig,
  *,
  mask: jax.Array | None,
  share: Share,
  relocates: bool,
) -> FitState:
  """Adds splats, or moves some once all are there, if it is time to.

  Args:
    state: Of the fit, after whole steps.
    image: (H, W, C) float32.
    config: Settings.
    mask: (H, W), 0 where the image is padding.
    share: Of the image.
    relocates: Whether splats may move at all; what cannot happen is not
      compiled.

  Returns:
    The state; the same if neither is due.
  """
  due = state.step % config.growth_every == 0
  full = all_active(state, share)
  work = (image, config, mask, share)
  if config.num_grown:
    state = jax.lax.cond(
      due & ~full, lambda s: _grow(s, *work), lambda s: s, state
    )
  if relocates:
    # Not where rates have begun to fall, or parameters to settle.
    turn = state.decay_step + (config.quantize_step - config.decay_step)
    last = jnp.minimum(state.decay_step, turn)
    last = jnp.minimum(config.relocate_step, last)
    state = jax.lax.cond(
      due & full & (state.step <= last),
      lambda s: _relocate(s, *work),
      lambda s: s,
      state,
    )
  return state


def _fresh(
  key: jax.Array, error, image, config: FitConfig, mask, share: Share, count
) -> Gaussians2D:
  """New splats where the squared error, (H, W), is.

  They take the image's colour: in the normalised blend a splat shows its own
  colour, so a residual would be wrong.
  """
  density = spread(error, 0.0, mask)
  fresh = place(key, image, density, count, scale=1.0)
  log_scale = jnp.log(jnp.maximum(config.growth_scale * share.spacing_px, 0.5))
  fresh = fresh._replace(log_scale=jnp.full((count, 2), log_scale))
  if config.raster.blend == "sum":
    # There a splat adds to the picture: it starts from nothing.
    fresh = fresh._replace(feature=jnp.zeros_like(fresh.feature))
  return fresh


def _grow(
  state: FitState, image, config: FitConfig, mask, share: Share
) -> FitState:
  """Fills the next idle slots; moments of all others stay."""
  # Drawn again: a picture carried from step to step would be copied each time.
  splats = project(
    state.gaussians, active=state.active, backend=config.raster.backend
  )
  size = rows, _ = band_size(config, image.shape[:2])

  def body(error, band):
    drawn = draw_splats(band_of(splats, band), size, config).image
    return _put_errors(error, band, drawn, image, config)

  error = jnp.zeros(image.shape[:2], image.dtype)
  error = over_bands(body, error, image.shape[0], rows)
  key, key_place = jax.random.split(state.key)
  count = config.num_grown
  fresh = _fresh(key_place, error, image, config, mask, share, count)
  first = jnp.sum(state.active, dtype=jnp.int32)
  order = jnp.arange(count, dtype=jnp.int32)
  slots = first + order
  # What is over the share of this image goes nowhere.
  wanted = (order < share.num_grown) & (slots < share.num_gaussians)
  slots = jnp.where(wanted, slots, config.num_gaussians)
  return state._replace(
    gaussians=_put(state.gaussians, slots, fresh),
    active=state.active.at[slots].set(True, mode="drop"),
    key=key,
  )


def _put_errors(error, band: Band, drawn, image, config: FitConfig):
  """The map of squared errors (H, W) with those of a band."""
  part = rows_at(image, band.top, drawn.shape[0])
  return put_rows(error, error_of(drawn, part, config), band.top)


def _put(gaussians: Gaussians2D, slots, fresh: Gaussians2D) -> Gaussians2D:
  return jax.tree.map(
    lambda old, new: old.at[slots].set(new, mode="drop"), gaussians, fresh
  )


def removal_costs(
  key: jax.Array,
  splats: Splats,
  size: tuple[int, int],
  config: FitConfig,
  *,
  mask: jax.Array | None = None,
  num_probes: int = 4,
) -> tuple[jax.Array, jax.Array]:
  """About how much the picture would change without each splat.

  The change of a pixel is its derivative in the splat's log-weight, to first
  order (w / sum w of the distance of the splat's colour to the pixel's). The
  sum of its squares is the diagonal of J^T J, estimated without bias by the
  squares of J^T v for random signs v.

  Args:
    key: PRNG key.
    splats: N splats.
    size: (height, width), px.
    config: Uses `raster`.
    mask: (H, W), how much a pixel counts; all alike when None.
    num_probes: How many v; one is rough (a relative error of about 1.4).

  Returns:
    (N,) float32, sums of squared differences; the picture (H, W, C).
  """

  def picture(log_weight):
    return draw_splats(
      splats._replace(log_weight=log_weight), size, config
    ).image

  drawn, vjp = jax.vjp(picture, splats.log_weight)
  roots = channel_roots(config, drawn.shape[2])
  if mask is not None:
    roots = roots * jnp.sqrt(mask.astype(drawn.dtype))[..., None]

  def probe(total, key):
    signs = jax.random.rademacher(key, drawn.shape, drawn.dtype) * roots
    return total + jnp.square(vjp(signs)[0]), None

  keys = jax.random.split(key, num_probes)
  total, _ = jax.lax.scan(probe, jnp.zeros_like(splats.log_weight), keys)
  return total / num_probes, drawn


def _relocate(
  state: FitState, image, config: FitConfig, mask, share: Share
) -> FitState:
  """Moves the splats that would be missed least to where the error is."""
  key, key_probe, key_place = jax.random.split(state.key, 3)
  splats = project(
    state.gaussians, active=state.active, backend=config.raster.backend
  )
  size = rows, _ = band_size(config, image.shape[:2])

  def body(carry, band):
    cost, error = carry
    # Bands have no pixel in common: their estimates add up.
    part, drawn = removal_costs(
      jax.random.fold_in(key_probe, band.index),
      band_of(splats, band),
      size,
      config,
      mask=weights_of(mask, band, size),
    )
    return cost + part, _put_errors(error, band, drawn, image, config)

  start = (
    jnp.zeros_like(splats.log_weight),
    jnp.zeros(image.shape[:2], image.dtype),
  )
  cost, error = over_bands(body, start, image.shape[0], rows)
  count = config.num_relocated
  fresh = _fresh(key_place, error, image, config, mask, share, count)
  _, slots = jax.lax.top_k(-jnp.where(state.active, cost, jnp.inf), count)
  wanted = jnp.float32(share.num_gaussians) * config.relocate_ratio
  order = jnp.arange(count, dtype=jnp.int32).astype(jnp.float32)
  slots = jnp.where(order < wanted, slots, config.num_gaussians)
  nothing = jax.tree.map(jnp.zeros_like, fresh)
  moments = state.moments._replace(mu=_put(state.moments.mu, slots, nothing))
  pixels = jnp.float32(share.height) * jnp.float32(share.width)
  typical = jnp.nanmedian(jnp.where(state.active, cost, jnp.nan))
  return state._replace(
    gaussians=_put(state.gaussians, slots, fresh),
    moments=moments,
    key=key,
    splat_value=typical / (pixels * image.shape[2]),
  )
