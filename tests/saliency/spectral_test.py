import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxgs.saliency import spectral_residual
from jaxgs.saliency.spectral import blur, luma
from tests.pictures import blobs, parrot


def _by_the_paper(grey):
  """The formula of the paper in float64, on a map of its own size."""
  spectrum = np.fft.fft2(grey)
  level, phase = np.log(np.abs(spectrum)), np.angle(spectrum)
  residual = level - scipy.ndimage.uniform_filter(level, 3, mode="wrap")
  found = np.abs(np.fft.ifft2(np.exp(residual + 1j * phase))) ** 2
  found = scipy.ndimage.gaussian_filter(found, 2.5, mode="constant")
  return (found - found.min()) / (found.max() - found.min())


def test_agrees_with_the_formula_of_the_paper():
  noise = np.random.default_rng(0).uniform(0, 0.2, (48, 64))
  grey = 0.7 * np.asarray(blobs(3, 48, 64)[..., 0]) + noise
  found = spectral_residual(jnp.asarray(grey[..., None], jnp.float32))
  np.testing.assert_allclose(found, _by_the_paper(grey), atol=1e-3)


@pytest.mark.parametrize("size", ((128, 160), (150, 90)))
def test_an_odd_patch_on_a_regular_texture_lights_up(size):
  y, x = np.mgrid[: size[0], : size[1]]
  picture = 0.5 + 0.4 * np.sin(x / 2)
  patch = (abs(y - 50) < 12) & (abs(x - 60) < 12)
  picture = np.where(patch, 0.5 + 0.4 * np.sin(y / 2), picture)
  found = spectral_residual(jnp.asarray(picture[..., None], jnp.float32))
  assert found.shape == size
  peak = np.unravel_index(np.argmax(found), size)
  assert patch[peak]
  assert found[patch].mean() > 2.5 * found[~patch].mean()


def test_a_picture_of_objects():
  found = spectral_residual(parrot())
  assert found.shape == (190, 200)
  assert found.dtype == jnp.float32
  assert found.min() == 0
  np.testing.assert_allclose(found.max(), 1.0, rtol=1e-6)


@pytest.mark.parametrize("level", (0.0, 0.3, 1.0))
def test_nothing_is_salient_in_a_flat_picture(level):
  assert not spectral_residual(jnp.full((50, 70, 3), level)).any()


@pytest.mark.parametrize("size", ((1, 1), (1, 200), (3, 2)))
def test_pictures_of_few_pixels(size):
  rng = np.random.default_rng(0)
  found = spectral_residual(jnp.asarray(rng.random((*size, 3), np.float32)))
  assert found.shape == size
  assert np.isfinite(found).all()


def test_a_batch_is_its_pictures():
  images = jnp.stack([parrot()[i : i + 90, :80] for i in (0, 50, 100)])
  batch = jax.jit(jax.vmap(spectral_residual))(images)
  alone = [spectral_residual(image) for image in images]
  np.testing.assert_allclose(batch, jnp.stack(alone), atol=1e-4)


def test_luma():
  red = jnp.array([[[1.0, 0.0, 0.0]]])
  np.testing.assert_allclose(luma(red), [[0.299]], rtol=1e-6)
  half = jnp.array([[[1.0, 1.0, 1.0, 0.5]]])
  np.testing.assert_allclose(luma(half), [[0.5]], rtol=1e-6)
  np.testing.assert_allclose(luma(half[..., 2:]), [[0.5]], rtol=1e-6)
  np.testing.assert_allclose(luma(half[..., :1]), [[1.0]], rtol=1e-6)
  six = jnp.arange(6.0)[None, None]
  np.testing.assert_allclose(luma(six), [[2.5]], rtol=1e-6)
  with pytest.raises(ValueError, match=r"image must be \(H, W, C\), got"):
    spectral_residual(jnp.zeros((4, 4)))


def test_blur_agrees_with_scipy():
  values = np.random.default_rng(1).random((20, 33)).astype(np.float32)
  expected = scipy.ndimage.gaussian_filter(values, 3.0, mode="constant")
  np.testing.assert_allclose(
    blur(jnp.asarray(values), 3.0), expected, atol=1e-5
  )
