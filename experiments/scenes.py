"""Scenes to time, and the programs that draw and fit them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxgs import kernels
from jaxgs.binning import bin_splats
from jaxgs.config import FitConfig, preset
from jaxgs.fit import default_rates, fit, fit_chunk
from jaxgs.project import project
from jaxgs.rasterize import render
from jaxgs.state import FitState, init_fit


def make_scene(
  picture: jax.Array,
  scene: tuple[int, int, int, int],
  *,
  steps: int,
  grown: bool,
  seed: int,
) -> tuple[jax.Array, FitState]:
  """An image, and a short fit of it: sizes of random Gaussians are others.

  Args:
    picture: (H, W, C) float32, brought to the size, its channels repeated.
    scene: Width, height, channels and number of Gaussians.
    steps: Of the fit.
    grown: Whether it starts with few Gaussians, as the default preset does, or
      with all: then more of them are small, and lists are shorter.
    seed: Of the fit.

  Returns:
    The image, and the state after the fit.
  """
  width, height, channels, n = scene
  shape = (height, width, picture.shape[2])
  image = jnp.clip(jax.image.resize(picture, shape, "cubic"), 0.0, 1.0)
  image = jnp.tile(image, (1, 1, -(-channels // shape[2])))[..., :channels]
  config = preset("default", num_gaussians=n, num_steps=steps).fit
  if not grown:
    config = dataclasses.replace(config, growth_rounds=0, relocate_ratio=0.0)
  result = fit(jax.random.key(seed), image, config)
  state = init_fit(jax.random.key(seed), image, config)
  return image, state._replace(gaussians=result.gaussians, active=result.active)


def programs_of(
  image: jax.Array, state: FitState, config: FitConfig, steps: int
) -> dict:
  """What is timed of one backend: name to a function without arguments.

  Args:
    image: (H, W, C).
    state: Of the scene.
    config: Its `raster.backend` is the one.
    steps: Of one call of "render" and of "step".

  Returns:
    "forward": pixels from the lists; "forward + backward"; "render": from the
    Gaussians, with binning; "step": of a fit. Of the last two one call does
    `steps`, or on a GPU the host's part of a call would be timed.
  """
  size, spec = image.shape[:2], config.raster
  splats = project(state.gaussians, active=state.active)
  bins = bin_splats(splats, height=size[0], width=size[1], spec=spec)
  backend = kernels.load(spec.backend)

  @jax.jit
  def forward(splats, bins):
    return backend.forward(spec, size, splats, bins, keep=False)[0]

  @jax.jit
  def both(splats, bins, cotangent):
    _, residuals = backend.forward(spec, size, splats, bins)
    return backend.backward(spec, size, splats, bins, residuals, cotangent)

  show = functools.partial(render, height=size[0], width=size[1], spec=spec)

  @jax.jit
  def draw(gaussians):
    # Each a little further on: a compiler would draw the same once.
    shifts = 1e-6 * jnp.arange(steps, dtype=jnp.float32)
    return jax.lax.map(
      lambda shift: (
        show(gaussians._replace(mean=gaussians.mean + shift)).image[0, 0]
      ),
      shifts,
    )

  rates = default_rates(config, size)
  # A step and nothing else.
  config = dataclasses.replace(config, relocate_ratio=0.0)
  return {
    "forward": lambda: forward(splats, bins),
    "forward + backward": lambda: both(splats, bins, image),
    "render": lambda: draw(state.gaussians),
    "step": lambda: fit_chunk(
      state, image, config, rates=rates, num_steps=steps
    ),
  }
