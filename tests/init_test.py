import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs import bands
from jaxgs.init import gradient_map, init_gaussians, sample_pixels, spread


def step_image(height=30, width=40):
  image = jnp.full((height, width, 3), 0.25)
  return image.at[:, width // 2 :].set(0.75)


def test_gradient_map_of_a_step():
  got = gradient_map(step_image())
  want = np.zeros((30, 40))
  want[:, 19:21] = 3 * 0.25**2
  np.testing.assert_allclose(got, want, atol=1e-7)


def test_samples_are_distinct_and_follow_the_density():
  density = jnp.zeros((20, 20)).at[3:9].set(1.0).at[12:15].set(4.0)
  keys = jax.random.split(jax.random.key(0), 200)
  picks = jax.vmap(lambda k: sample_pixels(k, density, 12))(keys)
  rows = np.asarray(picks) // 20
  assert all(len(set(row)) == 12 for row in np.asarray(picks))
  assert np.isin(rows, [3, 4, 5, 6, 7, 8, 12, 13, 14]).all()
  # 240 px of weight 4 to 120 px of weight 1, nearly with replacement.
  assert abs(np.isin(rows, [12, 13, 14]).mean() - 2 / 3) < 0.05


def test_gradient_placement_is_denser_and_smaller_at_edges():
  got = init_gaussians(jax.random.key(1), step_image(), 60, random_ratio=0.3)
  near = np.abs(np.asarray(got.mean[:, 0]) - 20) < 2
  assert near.mean() > 0.5
  scale = np.exp(np.asarray(got.log_scale[:, 0]))
  assert np.median(scale[near]) < 0.5 * np.median(scale[~near])


def test_random_placement_scale_is_the_spacing():
  got = init_gaussians(
    jax.random.key(1), step_image(), 50, method="random", scale=0.6
  )
  spacing = np.sqrt(30 * 40 / 50)
  np.testing.assert_allclose(np.exp(got.log_scale), 0.6 * spacing, rtol=1e-3)


def test_colours_and_centres_are_the_pixels():
  image = jax.random.uniform(jax.random.key(2), (9, 7, 4))
  got = init_gaussians(jax.random.key(3), image, 63)
  column = np.floor(got.mean[:, 0]).astype(int)
  row = np.floor(got.mean[:, 1]).astype(int)
  np.testing.assert_array_equal(got.feature, image[row, column])
  assert len(set(zip(row, column, strict=True))) == 63


def test_a_given_map():
  importance = jnp.zeros((30, 40)).at[10:12, 30:33].set(1.0)
  got = init_gaussians(
    jax.random.key(4), step_image(), 6, importance=importance, random_ratio=0.0
  )
  assert ((got.mean[:, 0] >= 30) & (got.mean[:, 0] <= 33)).all()
  assert ((got.mean[:, 1] >= 10) & (got.mean[:, 1] <= 12)).all()


def test_nothing_is_placed_on_padding():
  mask = jnp.zeros((30, 40)).at[:, :10].set(1.0)
  got = init_gaussians(jax.random.key(5), step_image(), 100, mask=mask)
  assert (got.mean[:, 0] <= 10).all()


def test_flat_images_get_the_uniform_density():
  density = spread(jnp.zeros((4, 5)), 0.3)
  np.testing.assert_allclose(density, 1 / 20, rtol=1e-5)


@pytest.mark.parametrize("number", [0, 1201])
def test_bad_number(number):
  with pytest.raises(ValueError, match=r"must be in 1\.\.1200"):
    init_gaussians(jax.random.key(0), step_image(), number)


@pytest.fixture
def small_bands(monkeypatch):
  """Bands of 32 rows for pictures of 40 columns."""
  monkeypatch.setattr(bands, "_WHOLE_PX", 2000)
  monkeypatch.setattr(bands, "_BAND_PX", 32 * 40)


@pytest.mark.parametrize("height", (64, 75))
def test_gradient_map_in_bands(request, height):
  image = jax.random.uniform(jax.random.key(0), (height, 40, 3))
  roots = jnp.array([[[1.0, 2.0, 0.5]]])
  mask = jnp.ones((height, 40)).at[31:34].set(0.0).at[:, 35:].set(0.0)
  want = gradient_map(image, mask, roots=roots)
  request.getfixturevalue("small_bands")
  got = gradient_map(image, mask, roots=roots)
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.usefixtures("small_bands")
def test_samples_in_bands_follow_the_density():
  density = jnp.zeros((75, 40)).at[3:9].set(1.0).at[40:60].set(0.6)
  keys = jax.random.split(jax.random.key(0), 100)
  picks = jax.vmap(lambda k: sample_pixels(k, density, 12))(keys)
  rows = np.asarray(picks) // 40
  assert all(len(set(row)) == 12 for row in np.asarray(picks))
  below = (rows >= 40) & (rows < 60)
  assert (below | ((rows >= 3) & (rows < 9))).all()
  # 800 px of weight 0.6 to 240 px of weight 1.
  assert abs(below.mean() - 2 / 3) < 0.05


@pytest.mark.usefixtures("small_bands")
def test_every_pixel_is_sampled_once_in_bands():
  picks = sample_pixels(jax.random.key(1), jnp.ones((75, 40)), 75 * 40)
  np.testing.assert_array_equal(np.sort(picks), np.arange(75 * 40))
