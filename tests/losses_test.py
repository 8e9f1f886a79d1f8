import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs import kernels
from jaxgs.backends import use_backend
from jaxgs.config import RasterSpec
from jaxgs.losses import image_loss, image_loss_and_mse
from jaxgs.metrics import ssim_map


@pytest.fixture(autouse=True, params=["cpu", "triton", "xla"])
def backend(request):
  try:
    kernels.choose(request.param, RasterSpec(), jax.default_backend())
  except NotImplementedError as error:
    pytest.skip(str(error))
  with use_backend(request.param):
    yield request.param


OFF = {"l1": 0.0, "l2": 0.0, "ssim": 0.0}
ALL = {"l1": 0.8, "l2": 0.5, "ssim": 0.2}


def _pair(height=24, width=30, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  target = rng.random((height, width, channels), np.float32)
  noise = 0.2 * rng.standard_normal(target.shape).astype(np.float32)
  return jnp.asarray(target + noise), jnp.asarray(target)


def test_each_term():
  rendered, target = _pair()
  error = np.asarray(rendered) - np.asarray(target)
  terms = {
    "l1": np.abs(error).mean(),
    "l2": (error**2).mean(),
    "ssim": 1 - ssim_map(rendered, target, padding="same").mean(),
  }
  total = 0
  for name, value in terms.items():
    loss = image_loss(rendered, target, **{**OFF, name: 0.7})
    assert loss.shape == ()
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, 0.7 * value, rtol=1e-5)
    total += ALL[name] * value
  np.testing.assert_allclose(
    image_loss(rendered, target, **ALL), total, rtol=1e-5
  )


def test_a_term_of_weight_zero_is_not_computed(backend):
  if backend != "xla":
    pytest.skip("seen in the jaxpr of xla only")
  rendered, target = _pair()
  marks = {"l1": "sign", "ssim": "custom_vjp"}
  for name in marks:
    weights = {**OFF, name: 1.0}
    text = str(
      jax.make_jaxpr(lambda r, t, w=weights: image_loss(r, t, **w))(
        rendered, target
      )
    )
    for other, mark in marks.items():
      assert (mark in text) == (other == name)


# Sizes around the window, the vectors and the blocks of the native code.
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
  "shape",
  [(1, 1, 1), (5, 3, 4), (11, 11, 3), (40, 260, 3), (131, 17, 2), (9, 90, 9)],
)
def test_native_value_and_gradients_against_autodiff(backend, shape, masked):
  if backend == "xla":
    pytest.skip("is what the others are compared with")
  rng = np.random.default_rng(1)
  target = rng.random(shape, np.float32)
  rendered = target + 0.2 * rng.standard_normal(shape, np.float32)
  mask = rng.uniform(-0.5, 1, shape[:2]).clip(0) if masked else None

  def evaluate(backend):
    return jax.value_and_grad(image_loss, argnums=(0, 1))(
      jnp.asarray(rendered),
      jnp.asarray(target),
      **ALL,
      mask=None if mask is None else jnp.float32(mask),
      backend=backend,
    )

  want, want_gradients = evaluate("xla")
  got, gradients = evaluate(backend)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  for a, b in zip(gradients, want_gradients, strict=True):
    scale = np.abs(b).max()
    np.testing.assert_allclose(a / scale, b / scale, atol=1e-4)


def test_mean_squared_error_comes_with_any_loss():
  rendered, target = _pair()
  loss, mse = image_loss_and_mse(rendered, target, **ALL)
  np.testing.assert_allclose(loss, image_loss(rendered, target, **ALL))
  error = np.asarray(rendered) - np.asarray(target)
  np.testing.assert_allclose(mse, np.mean(error**2), rtol=1e-5)
  gradient = jax.grad(lambda r: image_loss_and_mse(r, target, **ALL)[1])
  assert not gradient(rendered).any()


def test_identical_pictures():
  _, target = _pair()
  loss, gradient = jax.value_and_grad(lambda r: image_loss(r, target, **ALL))(
    target
  )
  np.testing.assert_allclose(loss, 0, atol=1e-6)
  assert np.isfinite(gradient).all()
  np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("shape", ((1, 1, 1), (3, 7, 4), (24, 30, 3)))
@pytest.mark.parametrize("fill", (0.0, 1.0, 1e4, -1e4))
def test_gradient_is_finite(shape, fill):
  for target in (jnp.zeros(shape), jnp.ones(shape), _pair(*shape)[1]):
    gradient = jax.grad(lambda r, t=target: image_loss(r, t, **ALL))(
      jnp.full(shape, fill)
    )
    assert np.isfinite(gradient).all()


def test_descent_reaches_the_target():
  rendered, target = _pair()
  step = jax.jit(
    jax.value_and_grad(lambda r: image_loss(r, target, **{**ALL, "l1": 0.0}))
  )
  first, _ = step(rendered)
  for _ in range(60):
    loss, gradient = step(rendered)
    rendered = rendered - 200.0 * gradient
  assert loss < 0.05 * first


@pytest.mark.parametrize("dtype", (bool, np.float32, np.int32))
def test_padding_does_not_count(dtype):
  rendered, target = _pair()
  mask = np.zeros((32, 40), dtype)
  mask[:24, :30] = 1
  expected, expected_gradient = jax.value_and_grad(image_loss)(
    rendered, target, **ALL
  )
  for filling in (0.0, 3.0, np.nan, np.inf):

    def grow(x, filling=filling):
      return jnp.pad(x, ((0, 8), (0, 10), (0, 0)), constant_values=filling)

    loss, gradient = jax.value_and_grad(image_loss)(
      grow(rendered), grow(target), **ALL, mask=jnp.asarray(mask)
    )
    # The window meets zeros behind the edge in both, so SSIM agrees too.
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient[:24, :30], expected_gradient, atol=1e-7)
    assert not gradient[24:].any()
    assert not gradient[:, 30:].any()


def test_mask_weighs_pixels():
  rendered, target = _pair(channels=2)
  mask = np.full((24, 30), 0.25, np.float32)
  mask[:12] = 1
  error = np.abs(np.asarray(rendered) - np.asarray(target)).mean(-1)
  for name, values in (("l1", error), ("l2", None)):
    if values is None:
      values = ((np.asarray(rendered) - np.asarray(target)) ** 2).mean(-1)
    loss = image_loss(
      rendered, target, **{**OFF, name: 1.0}, mask=jnp.asarray(mask)
    )
    expected = (values * mask).sum() / mask.sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_empty_mask():
  rendered, target = _pair()
  loss, gradient = jax.value_and_grad(image_loss)(
    rendered, target, **ALL, mask=jnp.zeros((24, 30))
  )
  assert loss == 0
  assert not gradient.any()


def test_vmap_is_a_loop():
  pairs = [_pair(seed=k) for k in range(3)]
  rendered, target = (jnp.stack(x) for x in zip(*pairs, strict=True))
  mask = jnp.asarray(np.random.default_rng(0).random((3, 24, 30)) < 0.7)

  def loss(r, t, m):
    return image_loss(r, t, **ALL, mask=m)

  mapped = jax.jit(jax.vmap(jax.grad(loss)))(rendered, target, mask)
  for k in range(3):
    expected = jax.grad(loss)(rendered[k], target[k], mask[k])
    np.testing.assert_allclose(mapped[k], expected, atol=1e-7)


def test_arguments_are_checked():
  rendered, target = _pair()
  with pytest.raises(ValueError, match="one shape"):
    image_loss(rendered[:1], target, **ALL)
  with pytest.raises(ValueError, match="one shape"):
    image_loss(rendered[None], target[None], **ALL)
  with pytest.raises(ValueError, match="one dtype"):
    image_loss(rendered, target.astype(jnp.float16), **ALL)
  with pytest.raises(ValueError, match="mask"):
    image_loss(rendered, target, **ALL, mask=jnp.ones((30, 24)))
  with pytest.raises(ValueError, match="must be positive"):
    image_loss(rendered, target, **OFF)
  for weight in (-1.0, float("nan"), float("inf")):
    with pytest.raises(ValueError, match="ssim must be finite"):
      image_loss(rendered, target, l1=1.0, l2=0.0, ssim=weight)
