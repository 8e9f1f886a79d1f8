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
from jaxgs.config import FitConfig, QuantConfig
from jaxgs.dequantize import Transform
from jaxgs.growth import grow_or_relocate
from jaxgs.quantize import DeviceLattice, quantize
from jaxgs.state import FitState, init_fit, share_of
from jaxgs.step import fit_step, thrift_of
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


_STATIC = ("config", "quant", "transform", "num_steps")


@functools.partial(jax.jit, static_argnames=_STATIC)
def fit_chunk(
  state: FitState,
  image: jax.Array,
  config: FitConfig,
  *,
  rates: Gaussians2D | None = None,
  lattice: DeviceLattice | None = None,
  quant: QuantConfig | None = None,
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
    quant: What the fit is to be rounded with, now or later: bits have a price
      and parameters shake, as the config says. A fit for itself when None.
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
  thrift = None
  wanted = config.bit_price > 0 or config.noise > 0
  if wanted and quant is not None and quant.adaptive and quant.bits is None:
    thrift = thrift_of(state, config, quant, share, transform)

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
      quant=quant,
      thrift=thrift,
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


@functools.partial(jax.jit, static_argnames=("config", "quant", "transform"))
def fit(
  key: jax.Array,
  image: jax.Array,
  config: FitConfig,
  *,
  rates: Gaussians2D | None = None,
  lattice: DeviceLattice | None = None,
  quant: QuantConfig | None = None,
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
    quant: See `fit_chunk`.
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
    quant=quant,
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
