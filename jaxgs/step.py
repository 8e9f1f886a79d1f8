"""One step of a fit, and what rounding asks of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgs import optim
from jaxgs.config import FitConfig, QuantConfig
from jaxgs.dequantize import Transform
from jaxgs.noise import rounding_noise
from jaxgs.picture import picture_loss
from jaxgs.project import project
from jaxgs.quantize import (
  DeviceLattice,
  canonicalize,
  error_factor,
  quantize,
)
from jaxgs.rate import Expected, estimated_bits, expect
from jaxgs.state import FitState, Share, share_of
from jaxgs.types import Gaussians2D

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


class Thrift(NamedTuple):
  """What makes a fit cheap to store and robust to rounding.

  Attributes:
    bit_price: () float32, squared error that a bit may cost.
    expected: What a coder expects of each splat.
    coarseness: () float32, of the steps that rounding will have.
  """

  bit_price: jax.Array
  expected: Expected
  coarseness: jax.Array


# The share of the steps after which bits cost and parameters shake: the splats
# are there then. (From half of them on is as good.)
_THRIFT_FROM = 0.2

# Where rate and distortion are in balance, the squared error falls by this
# much, times mse^0.6 / N, per bit of the file (Kodak from 0.15 to 1 bit per
# pixel). It follows the square of the steps, see QuantConfig.
_ERROR_PER_BIT = 1.44e-3

# But not more than this share of what the median splat is worth: in noise, of
# which Gaussians show little, more bits hardly lower the error. With this bound
# kodim13 gains 0.08 dB at the same size and a texture stack 0.06 dB; other
# photographs do not reach it.
_VALUE_PER_BIT = 8e-3


def thrift_of(
  state: FitState,
  config: FitConfig,
  quant: QuantConfig,
  share: Share,
  transform: Transform,
) -> Thrift:
  """What a state is to pay and to bear for the next few steps.

  Args:
    state: Of the fit.
    config: Uses `num_steps` and `bit_price`.
    quant: Of an adaptive lattice.
    share: Of the image.
    transform: Colour transform of the quantiser.

  Returns:
    Thrift; nothing of either while splats are still added.
  """
  due = state.step >= round(_THRIFT_FROM * config.num_steps)
  due &= jnp.isfinite(state.mse)
  mse = jnp.where(due, state.mse, 0.0)
  count = jnp.asarray(share.num_gaussians, jnp.float32)
  pixels = jnp.float32(share.height) * jnp.float32(share.width)
  factor = quant.coarseness * error_factor(mse, pixels / count)
  price = jnp.minimum(
    _ERROR_PER_BIT * mse**0.6 / count, _VALUE_PER_BIT * state.splat_value
  )
  return Thrift(
    bit_price=jnp.where(due, config.bit_price * price, 0.0),
    expected=expect(state.gaussians, state.active, transform=transform),
    coarseness=jnp.where(due, factor, 0.0),
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
  quant: QuantConfig | None = None,
  thrift: Thrift | None = None,
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
    quant: Steps of the noise; needed with `thrift`.
    thrift: Price of bits and size of the noise; neither when None.

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

  shakes = thrift is not None and config.noise > 0
  if shakes:
    key = jax.random.fold_in(state.key, state.step)
    shift = rounding_noise(
      key,
      state.gaussians,
      quant,
      config.noise * thrift.coarseness,
      transform=transform,
      weights=config.channel_weights,
    )
    if settled is not None:
      shift = jax.tree.map(lambda x, on: jnp.where(on, 0.0, x), shift, settled)

  def compare(gaussians):
    splats = project(
      gaussians, active=state.active, backend=config.raster.backend
    )
    return picture_loss(splats, image, config, mask)

  def loss_of(gaussians):
    cost = 0.0
    if thrift is not None:
      cost = thrift.bit_price * estimated_bits(
        gaussians, state.active, thrift.expected, transform=transform
      )
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
    if not shakes:
      loss, mse, dropped = compare(gaussians)
      return loss + cost, (mse, dropped)
    # Both signs: what is odd in the noise, which is most of it, cancels.
    pair = jax.tree.map(
      lambda x, dx: jnp.stack([x + dx, x - dx]), gaussians, shift
    )
    loss, mse, dropped = jax.vmap(compare)(pair)
    return jnp.mean(loss) + cost, (jnp.mean(mse), jnp.max(dropped))

  gradient, (mse, dropped) = jax.grad(loss_of, has_aux=True)(state.gaussians)
  gaussians, moments = optim.update(
    state.gaussians,
    gradient,
    state.moments,
    rates,
    corner=jnp.array([share.width, share.height], jnp.float32),
    config=config,
  )
  return state._replace(
    gaussians=gaussians,
    moments=moments,
    step=state.step + 1,
    mse=mse,
    dropped=jnp.maximum(state.dropped, dropped),
  )
