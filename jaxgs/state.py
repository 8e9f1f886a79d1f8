"""What a fit carries from step to step, and how it begins."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgs import optim
from jaxgs.binning import bin_splats
from jaxgs.config import FitConfig
from jaxgs.init import gradient_map, init_gaussians
from jaxgs.project import project
from jaxgs.rasterize import rasterize
from jaxgs.types import Gaussians2D, RenderOutput, Splats


class FitState(NamedTuple):
  """All that a fit carries from step to step.

  Attributes:
    gaussians: N Gaussians, the inactive ones too.
    active: (N,) bool, those that are drawn.
    moments: Of Adam.
    key: PRNG key of the growth to come.
    step: () int32, steps done.
    decay_step: () int32, where the learning rates begin to fall.
    mse: () float32 of the last step, before its update.
    dropped: () int32, the most pairs that any step of the last chunk had no
      room for; not 0 means that the chunk must be repeated with more.
    splat_value: () float32, how much the mean squared error would rise, about,
      without the median splat; of the last relocation, inf before it.
    past_mse: (chunks in `stop_steps` + 1,) float32, `mse` after the last
      chunks of `compress.fit_image`, oldest first, inf before the first.
  """

  gaussians: Gaussians2D
  active: jax.Array
  moments: optax.OptState
  key: jax.Array
  step: jax.Array
  decay_step: jax.Array
  mse: jax.Array
  dropped: jax.Array
  splat_value: jax.Array
  past_mse: jax.Array


class Share(NamedTuple):
  """How much of the padded image and of the capacity one image uses.

  Numbers, or arrays () where one program serves several images.

  Attributes:
    height: Of the image without its padding, px.
    width: As `height`.
    num_gaussians: N, at the end.
    num_initial: At the start.
    num_grown: Added per round.
  """

  height: jax.Array | int
  width: jax.Array | int
  num_gaussians: jax.Array | int
  num_initial: jax.Array | int
  num_grown: jax.Array | int

  @property
  def spacing_px(self) -> jax.Array:
    """Mean distance of neighbouring Gaussians, () float32."""
    area = jnp.float32(self.height) * jnp.float32(self.width)
    return jnp.sqrt(area / jnp.float32(self.num_gaussians))


def share_of(
  config: FitConfig,
  size: tuple[int, int],
  mask: jax.Array | None = None,
  num_gaussians: jax.Array | None = None,
) -> Share:
  """The share of an image.

  Args:
    config: Its `num_gaussians` is the capacity.
    size: (height, width) of the padded image.
    mask: (H, W), 0 where the image is padding: below and to the right.
    num_gaussians: () int32, of this image; the capacity when None.

  Returns:
    Share.
  """
  if mask is None:
    height, width = size
  else:
    rows, columns = jnp.any(mask > 0, axis=1), jnp.any(mask > 0, axis=0)
    height, width = (
      jnp.max(jnp.where(used, 1 + jnp.arange(used.shape[0]), 1))
      for used in (rows, columns)
    )
  if num_gaussians is None:
    return Share(
      height, width, config.num_gaussians, config.num_initial, config.num_grown
    )
  if config.growth_rounds == 0:
    return Share(height, width, num_gaussians, num_gaussians, 0)
  initial = jnp.ceil(jnp.float32(num_gaussians) * config.initial_ratio)
  initial = jnp.clip(initial.astype(jnp.int32), 1, config.num_initial)
  rest = num_gaussians - initial
  return Share(
    height, width, num_gaussians, initial, -(-rest // config.growth_rounds)
  )


@functools.partial(jax.jit, static_argnames=("config",))
def init_fit(
  key: jax.Array,
  image: jax.Array,
  config: FitConfig,
  *,
  importance: jax.Array | None = None,
  mask: jax.Array | None = None,
  num_gaussians: jax.Array | None = None,
) -> FitState:
  """The state before the first step.

  Args:
    key: PRNG key.
    image: (H, W, C) float32.
    config: Settings.
    importance: (H, W), a density for the first Gaussians, see
      `init_gaussians`.
    mask: (H, W), 0 where the image is padding.
    num_gaussians: () int32, of this image, where the capacity is that of
      several; all of the capacity when None.

  Returns:
    FitState whose first Gaussians are active: `config.num_initial` of them, or
    their share.

  Raises:
    ValueError: More Gaussians than pixels.
  """
  key, key_init = jax.random.split(key)
  share = share_of(config, image.shape[:2], mask, num_gaussians)
  if importance is None and config.channel_weights and config.init != "random":
    roots = channel_roots(config, image.shape[2])
    importance = gradient_map(image, mask, roots=roots)
  first = init_gaussians(
    key_init,
    image,
    config.num_initial,
    method=config.init,
    importance=importance,
    random_ratio=config.random_ratio,
    scale=config.init_scale,
    mask=mask,
    num_used=share.num_initial,
  )
  rest = config.num_gaussians - config.num_initial
  if config.num_gaussians > image.shape[0] * image.shape[1]:
    raise ValueError(
      f"num_gaussians must be at most {image.shape[0] * image.shape[1]} (the"
      f" pixels of the image), got {config.num_gaussians}"
    )
  # The idle slots hold a harmless splat until growth fills them.
  gaussians = jax.tree.map(
    lambda x: jnp.pad(x, ((0, rest),) + ((0, 0),) * (x.ndim - 1)), first
  )
  active = jnp.arange(config.num_gaussians) < share.num_initial
  return FitState(
    gaussians=gaussians,
    active=active,
    moments=optim.init_optimizer(gaussians),
    key=key,
    step=jnp.int32(0),
    decay_step=jnp.int32(config.decay_step),
    mse=jnp.float32(jnp.inf),
    dropped=jnp.int32(0),
    splat_value=jnp.float32(jnp.inf),
    past_mse=jnp.full(
      -(-config.stop_steps // config.chunk_steps) + 1, jnp.inf, jnp.float32
    ),
  )


def draw(
  gaussians: Gaussians2D,
  active: jax.Array,
  size: tuple[int, int],
  config: FitConfig,
) -> RenderOutput:
  """Renders the Gaussians of a fit at (height, width) = size."""
  splats = project(gaussians, active=active, backend=config.raster.backend)
  return draw_splats(splats, size, config)


def draw_splats(
  splats: Splats, size: tuple[int, int], config: FitConfig
) -> RenderOutput:
  """Renders the splats of a fit at (height, width) = size."""
  height, width = size
  spec = config.raster
  bins = bin_splats(splats, height=height, width=width, spec=spec)
  return rasterize(splats, bins, height=height, width=width, spec=spec)


def all_active(state: FitState, share: Share) -> jax.Array:
  """Whether growth is over: () bool."""
  return jnp.sum(state.active, dtype=jnp.int32) >= share.num_gaussians


def channel_roots(config: FitConfig, channels: int) -> jax.Array:
  """Roots of the channels' weights: what squared errors are scaled by.

  Args:
    config: Of the fit.
    channels: C.

  Returns:
    (1, 1, C) float32; the mean of their squares is 1.
  """
  weights = config.channel_weights or (1.0,) * channels
  mean = sum(weights) / len(weights)
  roots = [math.sqrt(weight / mean) for weight in weights]
  return jnp.array(roots, jnp.float32)[None, None]
