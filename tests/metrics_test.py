import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics

from jaxgs.metrics import ms_ssim, mse, psnr, ssim, ssim_map
from tests.data import make_ms_ssim
from tests.data.metric_pictures import pair

METRICS = (mse, psnr, ssim, ms_ssim)


def _pair(height, width, channels=3, noise=0.1, seed=0):
  """A smooth picture with texture, and the same with noise."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width]
  waves = [0.5 + 0.4 * np.sin((x + k * y) / 9) for k in range(1, channels + 1)]
  a = np.stack(waves, -1) + 0.05 * rng.standard_normal(
    (height, width, channels)
  )
  b = a + noise * rng.standard_normal(a.shape)
  return tuple(jnp.asarray(np.clip(v, 0, 1), jnp.float32) for v in (a, b))


def _skimage_ssim(a, b):
  return skimage.metrics.structural_similarity(
    np.asarray(a, np.float64),
    np.asarray(b, np.float64),
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
    channel_axis=-1,
    data_range=1.0,
  )


# PSNR.


def test_psnr_of_a_constant_error():
  a = jnp.zeros((4, 5, 3))
  np.testing.assert_allclose(psnr(a, a + 0.1), 20.0, atol=1e-5)
  np.testing.assert_allclose(mse(a, a + 0.1), 0.01, rtol=1e-6)
  np.testing.assert_allclose(
    psnr(a, a + 25.5, data_range=255.0), 20.0, atol=1e-4
  )


def test_psnr_of_identical_pictures_is_infinite():
  a, b = _pair(8, 9)
  both = psnr(jnp.stack([a, a]), jnp.stack([a, b]))
  assert both[0] == math.inf
  assert math.isfinite(both[1])


def test_psnr_agrees_with_skimage():
  a, b = _pair(31, 20)
  expected = skimage.metrics.peak_signal_noise_ratio(
    np.asarray(a), np.asarray(b), data_range=1.0
  )
  np.testing.assert_allclose(psnr(a, b), expected, atol=1e-4)


# SSIM.


@pytest.mark.parametrize("noise", (0.02, 0.3))
@pytest.mark.parametrize(
  "shape", ((64, 80, 3), (33, 47, 1), (11, 11, 3), (12, 40, 4))
)
def test_ssim_agrees_with_skimage(shape, noise):
  a, b = _pair(*shape, noise=noise)
  np.testing.assert_allclose(ssim(a, b), _skimage_ssim(a, b), atol=1e-5)


def test_ssim_of_flat_pictures_is_the_luminance_term():
  a = jnp.full((16, 16, 3), 0.2)
  expected = (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
  np.testing.assert_allclose(ssim(a, a * 4), expected, atol=1e-4)


def test_ssim_map_is_local():
  a, _ = _pair(40, 50)
  b = a.at[20, 30].set(1.0 - a[20, 30])
  far = np.ones((40, 50), bool)
  far[15:26, 25:36] = False
  same = ssim_map(a, b, padding="same")
  assert same.shape == a.shape
  np.testing.assert_allclose(same[far], 1.0, atol=1e-4)
  assert np.all(same[20, 30] < 0.9)
  # Inside, padding makes no difference, which also shows the alignment.
  valid = ssim_map(a, b)
  np.testing.assert_allclose(valid, same[5:-5, 5:-5], atol=1e-5)


@pytest.mark.parametrize(
  ("shape", "map_shape"),
  (
    ((1, 1, 3), (1, 1, 3)),
    ((2, 30, 1), (2, 20, 1)),
    ((10, 9, 3), (2, 1, 3)),
    ((11, 12, 2), (1, 2, 2)),
  ),
)
def test_small_pictures(shape, map_shape):
  a, b = _pair(*shape)
  assert ssim_map(a, b).shape == map_shape
  assert ssim_map(a, b, padding="same").shape == shape
  for metric in (ssim, ms_ssim):
    np.testing.assert_allclose(metric(a, a), 1.0, atol=1e-5)
    assert metric(a, b) < 1
    gradient = jax.jit(jax.grad(metric))(a, b)
    assert np.isfinite(gradient).all()


# MS-SSIM.


def _slow_ms_ssim(a, b, num_scales=5):
  """MS-SSIM in float64, by skimage's windows and explicit loops."""
  weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:num_scales]
  if num_scales < 5:
    weights = weights / weights.sum()
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

  def blur(x):
    return skimage.filters.gaussian(x, 1.5, truncate=3.5)[5:-5, 5:-5]

  def halve(x):
    padded = np.pad(x, ((x.shape[0] % 2, 0), (x.shape[1] % 2, 0)))
    return skimage.measure.block_reduce(padded, (2, 2), np.mean)

  values = []
  for channel in range(a.shape[-1]):
    x, y = a[..., channel], b[..., channel]
    value = 1.0
    for scale, weight in enumerate(weights):
      mean_x, mean_y = blur(x), blur(y)
      var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
      covariance = blur(x * y) - mean_x * mean_y
      term = (2 * covariance + 9e-4) / (var_x + var_y + 9e-4)
      if scale == num_scales - 1:
        term *= (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
      value *= max(term.mean(), 0) ** weight
      x, y = halve(x), halve(y)
    values.append(value)
  return np.mean(values)


@pytest.mark.parametrize(
  ("shape", "num_scales"),
  (
    ((161, 183, 2), 5),
    ((160, 161, 1), 4),
    ((81, 82, 1), 4),
    ((80, 81, 1), 3),
    ((41, 42, 1), 3),
    ((40, 41, 1), 2),
    ((21, 23, 1), 2),
    ((20, 64, 1), 1),
  ),
)
def test_ms_ssim_agrees_with_the_definition(shape, num_scales):
  a, b = _pair(*shape)
  expected = _slow_ms_ssim(a, b, num_scales)
  np.testing.assert_allclose(ms_ssim(a, b), expected, atol=1e-5)


@pytest.mark.parametrize("name", ("ssim", "ms_ssim"))
def test_agrees_with_pytorch_msssim(name):
  metric = {"ssim": ssim, "ms_ssim": ms_ssim}[name]
  path = pathlib.Path(__file__).with_name("data") / "ms_ssim.npz"
  with np.load(path) as archive:
    expected = archive[name]
  assert np.ptp(expected) > 0.03
  size = make_ms_ssim.SIZE
  pairs = [pair(*size, noise=noise) for noise in make_ms_ssim.CASES]
  a, b = (jnp.asarray(np.stack(x)) for x in zip(*pairs, strict=True))
  found = metric(a, b)
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_ms_ssim_of_one_scale_is_ssim():
  a, b = _pair(20, 64, 1)
  np.testing.assert_allclose(ms_ssim(a, b), ssim(a, b), atol=1e-6)


def test_ms_ssim_of_opposite_pictures():
  a, _ = _pair(42, 42, 1)
  value, gradient = jax.jit(jax.value_and_grad(ms_ssim))(a, 1.0 - a)
  assert value == 0
  assert np.isfinite(gradient).all()


# All of them.


@pytest.mark.parametrize("metric", (ssim, ms_ssim))
def test_identical_pictures_give_one(metric):
  a, b = _pair(30, 31)
  np.testing.assert_allclose(metric(a, a), 1.0, atol=1e-5)
  assert metric(a, b) < 0.97
  for flat in (0.0, 1.0):
    c = jnp.full((30, 31, 3), flat)
    np.testing.assert_allclose(metric(c, c), 1.0, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_batch_is_a_loop(metric):
  pairs = [_pair(30, 31, seed=k, noise=0.05 * (k + 1)) for k in range(4)]
  a, b = (
    jnp.stack(x).reshape(2, 2, 30, 31, 3) for x in zip(*pairs, strict=True)
  )
  expected = np.array([metric(*pair) for pair in pairs]).reshape(2, 2)
  assert len(np.unique(expected)) == 4
  np.testing.assert_allclose(metric(a, b), expected, rtol=1e-5)
  np.testing.assert_allclose(jax.jit(metric)(a, b), expected, rtol=1e-5)
  mapped = jax.vmap(jax.vmap(metric))(a, b)
  np.testing.assert_allclose(mapped, expected, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_gradient(metric):
  a, b = _pair(26, 31, 2)
  rng = np.random.default_rng(1)
  metric = jax.jit(metric)
  gradients = jax.jit(jax.grad(metric, (0, 1)))(a, b)
  # Along the gradient, so that float32 noise is small against the change,
  # mixed with noise, so that no pixel is left out.
  for argument, gradient in enumerate(gradients):
    direction = np.asarray(gradient) / np.linalg.norm(gradient)
    direction += 0.2 * rng.standard_normal(a.shape) / a.size**0.5
    step = 0.05

    def along(t, argument=argument, direction=direction):
      args = [a, b]
      args[argument] = args[argument] + t * direction.astype(np.float32)
      return float(metric(*args))

    numeric = (along(step) - along(-step)) / (2 * step)
    exact = float(np.sum(np.asarray(gradient) * direction))
    np.testing.assert_allclose(exact, numeric, rtol=0.01)


@pytest.mark.parametrize("padding", ("valid", "same"))
def test_ssim_gradient_of_each_pixel_agrees_with_autodiff(padding):
  # The same map written with one product per window, without own gradient.
  a, b = _pair(14, 13, 1)
  rng = np.random.default_rng(2)
  weights = jnp.asarray(rng.standard_normal(_map_shape(a, padding)), a.dtype)

  def plain(x):
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    taps /= taps.sum()
    margin = 5 if padding == "same" else 0
    x, y = (jnp.pad(v[..., 0], margin) for v in (x, b))

    def blur(v):
      rows, columns = (
        np.stack([np.pad(taps, (k, n - 11 - k)) for k in range(n - 10)])
        for n in v.shape
      )
      return rows.astype(np.float32) @ v @ columns.T.astype(np.float32)

    mean_x, mean_y = blur(x), blur(y)
    covariance = blur(x * y) - mean_x * mean_y
    variances = blur(x * x + y * y) - mean_x**2 - mean_y**2
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    result = luminance * (2 * covariance + 9e-4) / (variances + 9e-4)
    return jnp.sum(result * weights[..., 0])

  def own(x):
    return jnp.sum(ssim_map(x, b, padding=padding) * weights)

  np.testing.assert_allclose(own(a), plain(a), atol=1e-3)
  expected = jax.jit(jax.grad(plain))(a)
  np.testing.assert_allclose(
    jax.jit(jax.grad(own))(a), expected, atol=1e-3 * np.abs(expected).max()
  )


def _map_shape(a, padding):
  return ssim_map(a, a, padding=padding).shape


@pytest.mark.parametrize("metric", METRICS)
def test_arguments_are_checked(metric):
  a = jnp.zeros((12, 13, 3))
  for b in (a[:1], a[..., :1], a.astype(jnp.float16)):
    with pytest.raises(ValueError, match="a and b must have one"):
      metric(a, b)
  with pytest.raises(ValueError, match=r"\(\.\.\., H, W, C\)"):
    metric(a[0], a[0])
  with pytest.raises(ValueError, match=r"\(\.\.\., H, W, C\)"):
    metric(a[:0], a[:0])
  with pytest.raises(ValueError, match="float"):
    metric(a.astype(jnp.uint8), a.astype(jnp.uint8))


def test_options_are_checked():
  a = jnp.zeros((12, 13, 3))
  with pytest.raises(ValueError, match="data_range"):
    psnr(a, a, data_range=0.0)
  with pytest.raises(ValueError, match="padding"):
    ssim_map(a, a, padding="full")
