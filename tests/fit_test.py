import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgs
from jaxgs import optim
from jaxgs.compress import fit_image
from jaxgs.config import FitConfig, QuantConfig, RasterSpec
from jaxgs.fit import default_rates, fit, fit_chunk
from jaxgs.growth import removal_costs
from jaxgs.project import project
from jaxgs.quantize import device_lattice, lattice_of, quantize
from jaxgs.state import draw, init_fit
from tests.pictures import blobs, parrot

SMALL = FitConfig(
  num_gaussians=40,
  num_steps=60,
  initial_ratio=0.5,
  chunk_steps=10,
  growth_every=10,
  growth_rounds=2,
  raster=RasterSpec(max_pairs=2048),
)


def key(seed=0):
  return jax.random.key(seed)


def test_psnr_rises_and_all_gaussians_are_used():
  result = fit(key(), blobs(0), SMALL)
  assert result.psnr_db.shape == (6,)
  assert result.psnr_db[-1] > result.psnr_db[0] + 5
  assert result.active.all()
  assert result.dropped == 0


def test_three_at_once_are_three_apart():
  images = jnp.stack([blobs(s) for s in range(3)])
  keys = jax.random.split(key(), 3)
  factors = jnp.array([0.5, 1.0, 1.5])
  # Differences of rounding grow with the steps: not many of them.
  # Nor splats that move, or begin small.
  config = dataclasses.replace(
    SMALL, num_steps=30, relocate_ratio=0.0, growth_scale=0.3
  )
  base = default_rates(config, (24, 32))

  def run(key, image, factor):
    rates = jax.tree.map(lambda r: r * factor, base)
    return fit(key, image, config, rates=rates)

  together = jax.vmap(run)(keys, images, factors)
  for i in range(3):
    alone = run(keys[i], images[i], factors[i])
    np.testing.assert_allclose(together.psnr_db[i], alone.psnr_db, atol=0.1)
    # Rounding differs between the programs, and steps multiply it.
    shift = np.abs(together.gaussians.mean[i] - alone.gaussians.mean)
    assert np.median(shift) < 0.1
  # The learning rates did matter.
  assert (
    abs(together.psnr_db[0, 0] - fit(keys[0], images[0], config).psnr_db[0])
    > 0.05
  )


def test_growth_is_by_error_and_keeps_moments():
  image = blobs(0)
  config = dataclasses.replace(SMALL, growth_every=20)
  state = init_fit(key(), image, config)
  assert int(state.active.sum()) == config.num_initial == 20
  before = fit_chunk(state, image, config)
  after = fit_chunk(before, image, config)
  assert int(before.active.sum()) == 20
  assert int(after.active.sum()) == 30
  grown = np.arange(40)[20:30]
  # A third chunk without growth, for the moments.
  assert (after.moments.mu.mean[:20] != 0).any()
  assert (after.gaussians.log_scale[grown, 0] != 0).all()
  more = fit_chunk(fit_chunk(after, image, config), image, config)
  assert int(more.active.sum()) == 40


def test_growth_goes_where_the_error_is():
  # Half of the picture is flat and right from the start.
  image = jnp.full((24, 32, 3), 0.5).at[:, 16:].set(blobs(1)[:, 16:])
  config = dataclasses.replace(SMALL, growth_every=20)
  state = init_fit(key(), image, config)
  for _ in range(2):
    state = fit_chunk(state, image, config)
  fresh = state.gaussians.mean[20:30, 0]
  assert (fresh > 14).sum() >= 8


def test_one_trace_for_all_chunks():
  image = blobs(0)
  config = dataclasses.replace(SMALL, num_gaussians=41)
  step = jax.jit(
    chex.assert_max_traces(lambda s: fit_chunk(s, image, config), n=1)
  )
  state = init_fit(key(), image, config)
  for _ in range(3):
    state = step(state)
  assert int(state.step) == 30


def test_overflow_is_counted_and_the_host_makes_room():
  image = blobs(0)
  config = dataclasses.replace(SMALL, raster=RasterSpec(max_pairs=32))
  assert fit(key(), image, config).dropped > 0
  state = fit_image(key(), image, config)
  roomy = fit_image(key(), image, SMALL)
  assert state.dropped == 0
  np.testing.assert_allclose(state.mse, roomy.mse, rtol=0.05)


def test_padding_does_not_count():
  image = blobs(0)
  mask = jnp.zeros((24, 32)).at[:, :20].set(1.0)
  garbage = jnp.where(mask[..., None] > 0, image, 7.0)
  for config in (SMALL, dataclasses.replace(SMALL, l1=1.0, ssim=0.1, l2=0.0)):
    a = fit(key(), image, config, mask=mask)
    b = fit(key(), garbage, config, mask=mask)
    np.testing.assert_allclose(a.psnr_db, b.psnr_db, atol=1e-3)


def test_quantized_fit_beats_rounding_afterwards():
  image = parrot()[40:100, 40:100]
  config = FitConfig(
    num_gaussians=80,
    num_steps=150,
    chunk_steps=25,
    growth_every=25,
    growth_rounds=2,
    quantize_start=0.6,
  )
  coarse = QuantConfig(coarseness=4.0)
  lattice = device_lattice(lattice_of(coarse, 3, "ycocg"))
  round_off = functools.partial(
    quantize, lattice=lattice, height=60, width=60, transform="ycocg"
  )

  def psnr_db(gaussians, active):
    out = jaxgs.render(gaussians, height=60, width=60, active=active).image
    return -10 * np.log10(np.mean((out - image) ** 2))

  free = fit(key(), image, config)
  trained = fit(key(), image, config, lattice=lattice, transform="ycocg")
  afterwards = psnr_db(round_off(free.gaussians), free.active)
  assert psnr_db(trained.gaussians, trained.active) > afterwards + 0.2
  again = round_off(trained.gaussians)
  for a, b in zip(trained.gaussians, again, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  "changes",
  [
    {"scale_parameter": "inverse"},
    {"scale_parameter": "linear"},
    {"use_weight": False},
    {"l1": 1.0, "l2": 0.0, "ssim": 0.1},
    {"raster": RasterSpec(blend="sum", max_pairs=2048)},
    {"init": "random", "growth_rounds": 0},
  ],
  ids=lambda c: next(iter(c)),
)
def test_options_fit_too(changes):
  config = dataclasses.replace(SMALL, **changes)
  result = fit(key(), blobs(0), config)
  assert result.psnr_db[-1] > result.psnr_db[0] + 2
  if changes.get("use_weight") is False:
    np.testing.assert_array_equal(result.gaussians.log_weight, 0.0)


def test_early_stop_lets_the_rates_fall():
  image = jnp.full((24, 32, 3), 0.3)
  config = dataclasses.replace(
    SMALL, num_steps=400, stop_gain_db=30.0, stop_steps=20
  )
  state = fit_image(key(), image, config)
  assert int(state.step) < 250
  assert int(state.step) == int(state.decay_step) + 120


def test_early_stop_leaves_the_steps_to_settle():
  config = dataclasses.replace(
    SMALL, num_steps=400, stop_gain_db=30.0, stop_steps=20
  )
  image = jnp.full((24, 32, 3), 0.3)
  state = fit_image(key(), image, config, until=config.quantize_step)
  turn = int(state.decay_step) + config.quantize_step - config.decay_step
  assert int(state.step) == turn < config.quantize_step
  lattice = lattice_of(QuantConfig(), 3, "ycocg")
  end = fit_image(
    key(), image, config, state=state, lattice=lattice, transform="ycocg"
  )
  assert int(end.step) - turn == config.num_steps - config.quantize_step


def test_schedule():
  config = FitConfig(
    num_steps=100, growth_rounds=0, decay_start=0.6, decay_to=0.1
  )
  factor = [
    float(optim.schedule(jnp.int32(s), jnp.int32(60), config))
    for s in (0, 60, 80, 100, 120)
  ]
  np.testing.assert_allclose(factor, [1, 1, 0.55, 0.1, 0.1], atol=1e-6)


def test_bad_arguments():
  image = blobs(0)
  with pytest.raises(ValueError, match="num_gaussians must be"):
    fit(key(), image, dataclasses.replace(SMALL, num_gaussians=24 * 32 + 1))
  with pytest.raises(ValueError, match="growth_every must be"):
    FitConfig(chunk_steps=100, growth_every=150)
  with pytest.raises(ValueError, match="l1, l2, ssim"):
    FitConfig(l2=0.0)
  with pytest.raises(ValueError, match="scale_parameter must be log"):
    FitConfig(scale_parameter="square")
  with pytest.raises(ValueError, match=r"decay_to must be in \[0, 1\]"):
    FitConfig(decay_to=1.5)
  with pytest.raises(ValueError, match="method must be"):
    jaxgs.init_gaussians(key(), image, 10, method="best")


def test_a_lattice_that_is_not_in_force_changes_nothing():
  # Images of one program begin to settle at steps of their own.
  image = blobs(0)
  state = init_fit(key(), image, SMALL)
  # Round splats have no gradient in angle, and Adam makes steps of its noise.
  long = state.gaussians.log_scale.at[:, 0].add(0.6)
  state = state._replace(gaussians=state.gaussians._replace(log_scale=long))
  lattice = device_lattice(lattice_of(QuantConfig(), 3, "none"))
  free = fit_chunk(state, image, SMALL, num_steps=3)
  waiting = fit_chunk(
    state,
    image,
    SMALL,
    lattice=lattice,
    settling=jnp.bool(False),
    num_steps=3,
  )
  for a, b in zip(free.gaussians, waiting.gaussians, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)


def full_state(config, step=30):
  """A fit whose growth is over."""
  state = init_fit(
    key(), blobs(0), dataclasses.replace(config, growth_rounds=0)
  )
  return state._replace(
    step=jnp.int32(step), decay_step=jnp.int32(config.decay_step)
  )


def test_removal_costs_are_what_removal_changes():
  spec = RasterSpec(blend="sum", edge="sharp", max_pairs=2048)
  config = dataclasses.replace(SMALL, raster=spec)
  state = full_state(config)
  size = (24, 32)
  costs, picture = removal_costs(
    key(1),
    project(state.gaussians, active=state.active),
    size,
    config,
    num_probes=300,
  )
  for i in range(0, 40, 4):
    without = draw(state.gaussians, state.active.at[i].set(False), size, config)
    want = jnp.sum(jnp.square(without.image - picture))
    # The estimate has a relative error of (2 / 300)^0.5.
    np.testing.assert_allclose(costs[i], want, rtol=0.35)


def test_the_splats_that_are_missed_least_move():
  config = dataclasses.replace(SMALL, relocate_ratio=0.1)
  image, state = blobs(0), full_state(config)
  useless = jnp.array([3, 17, 22, 31])
  faint = state.gaussians._replace(
    log_weight=state.gaussians.log_weight.at[useless].set(-20.0)
  )
  moments = state.moments._replace(
    mu=jax.tree.map(jnp.ones_like, state.moments.mu)
  )
  state = state._replace(gaussians=faint, moments=moments)
  after = fit_chunk(state, image, config, num_steps=0)
  moved = np.any(after.gaussians.mean != state.gaussians.mean, axis=1)
  np.testing.assert_array_equal(np.flatnonzero(moved), useless)
  assert (after.gaussians.log_weight[useless] == 0).all()
  fresh = after.moments.mu.feature == 0
  np.testing.assert_array_equal(fresh.all(1), moved)
  # They went where the picture was wrong.
  size = (24, 32)
  wrong = jnp.square(draw(faint, state.active, size, config).image - image)
  x, y = after.gaussians.mean[useless].astype(int).T
  assert wrong.sum(-1)[y, x].mean() > wrong.sum(-1).mean()
  for changes in (
    {"step": jnp.int32(31)},
    {"step": jnp.int32(50)},
    {"decay_step": jnp.int32(20)},
  ):
    still = state._replace(**changes)
    after = fit_chunk(still, image, config, num_steps=0)
    for a, b in zip(after.gaussians, still.gaussians, strict=True):
      np.testing.assert_array_equal(a, b)
  # Nor where parameters have begun to settle.
  early = dataclasses.replace(config, quantize_start=0.4)
  after = fit_chunk(state, image, early, num_steps=0)
  np.testing.assert_array_equal(after.gaussians.mean, state.gaussians.mean)


def test_an_image_moves_its_share():
  config = dataclasses.replace(SMALL, relocate_ratio=0.1)
  state = full_state(config)
  state = state._replace(active=jnp.arange(40) < 20)
  after = fit_chunk(
    state, blobs(0), config, num_steps=0, num_gaussians=jnp.int32(20)
  )
  moved = np.any(after.gaussians.mean != state.gaussians.mean, axis=1)
  assert moved.sum() == 2
  assert not moved[20:].any()


def test_removal_costs_count_pixels_by_the_mask():
  state = full_state(SMALL)
  splats = project(state.gaussians, active=state.active)
  args = (key(1), splats, (24, 32), SMALL)
  plain, _ = removal_costs(*args)
  quarter, _ = removal_costs(*args, mask=jnp.full((24, 32), 0.25))
  np.testing.assert_allclose(quarter, 0.25 * plain, rtol=1e-4)
  left = jnp.arange(32) < 16
  half, _ = removal_costs(*args, mask=jnp.broadcast_to(left, (24, 32)))
  x = state.gaussians.mean[:, 0]
  reach = 3.5 * jnp.exp(state.gaussians.log_scale).max(1)
  assert (half[x - reach > 16] == 0).all()
  np.testing.assert_allclose(
    half[x + reach < 16], plain[x + reach < 16], rtol=1e-4
  )
  assert ((half > 0) & (half < 0.9 * plain)).any()


def test_pixels_count_by_the_mask():
  rng = np.random.default_rng(0)
  cells = rng.random((6, 8, 3), np.float32)
  image = jnp.asarray(cells.repeat(4, 0).repeat(4, 1))
  right = np.arange(32) >= 16
  mask = np.where(right, np.float32(1.0), np.float32(0.02))
  mask = jnp.asarray(np.broadcast_to(mask, (24, 32)))
  config = jaxgs.preset("fast", num_gaussians=24, num_steps=60).fit
  config = dataclasses.replace(
    config, growth_every=20, chunk_steps=20, growth_rounds=2, relocate_ratio=0.0
  )

  def errors(mask):
    out = fit(key(), image, config, mask=mask)
    drawn = draw(out.gaussians, out.active, (24, 32), config).image
    error = jnp.square(drawn - image)
    return error[:, ~right].mean(), error[:, right].mean()

  plain, masked = errors(jnp.ones((24, 32))), errors(mask)
  assert masked[0] > 1.5 * plain[0]
  assert masked[1] < 0.8 * plain[1]
