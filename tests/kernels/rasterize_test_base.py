"""The cases that every backend passes, against the reference in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgs.kernels import load

from jaxgs.binning import bin_splats
from jaxgs.config import RasterSpec
from jaxgs.project import project
from jaxgs.rasterize import rasterize, render
from jaxgs.types import Gaussians2D
from tests.kernels.scenes import circle, random_gaussians

SPECS = {
  "norm": RasterSpec(),
  "norm_all": RasterSpec(top_k=0),
  "norm_k3": RasterSpec(top_k=3, epsilon=1e-2),
  "norm_k40": RasterSpec(top_k=40),
  "sum": RasterSpec(blend="sum"),
  "sum_sharp": RasterSpec(blend="sum", edge="sharp", cutoff=3.5),
}


def exact(gaussians, height, width, spec):
  """The reference's picture, computed in float64."""
  with jax.enable_x64(True):
    splats = project(Gaussians2D(*(np.float64(x) for x in gaussians)))
    draw = load("reference").draw
    return np.asarray(draw(spec, (height, width), splats))


class RasterizeTestBase:
  """Subclasses set `backend`."""

  backend: str

  def spec(self, name="norm", **changes):
    return dataclasses.replace(SPECS[name], backend=self.backend, **changes)

  @pytest.mark.parametrize("name", SPECS)
  def test_picture(self, name):
    gaussians = random_gaussians()
    out = render(gaussians, height=33, width=41, spec=self.spec(name))
    want = exact(gaussians, 33, 41, SPECS[name])
    assert out.dropped == 0
    np.testing.assert_allclose(out.image, want, atol=2e-5, rtol=1e-4)

  @pytest.mark.parametrize("channels", [1, 13])
  def test_channels(self, channels):
    gaussians = random_gaussians(1, channels=channels, height=20, width=18)
    out = render(gaussians, height=20, width=18, spec=self.spec())
    want = exact(gaussians, 20, 18, SPECS["norm"])
    np.testing.assert_allclose(out.image, want, atol=2e-5, rtol=1e-4)

  @pytest.mark.parametrize("size", [(1, 1), (64, 3)])
  def test_sizes(self, size):
    gaussians = random_gaussians(2, height=size[0], width=size[1])
    out = render(gaussians, height=size[0], width=size[1], spec=self.spec())
    want = exact(gaussians, *size, SPECS["norm"])
    np.testing.assert_allclose(out.image, want, atol=2e-5, rtol=1e-4)

  @pytest.mark.parametrize("name", ["norm", "sum"])
  def test_tile_size_changes_nothing(self, name):
    gaussians = random_gaussians(3, n=90)
    pictures = [
      render(
        gaussians, height=33, width=41, spec=self.spec(name, tile=tile)
      ).image
      for tile in (8, 32)
    ]
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-5)

  @pytest.mark.parametrize("name", SPECS)
  def test_gradient(self, name):
    gaussians = random_gaussians(4, n=120)
    rng = np.random.default_rng(0)
    cotangent = rng.normal(size=(33, 41, 3))
    with jax.enable_x64(True):
      wide = Gaussians2D(*(np.float64(x) for x in gaussians))
      draw = load("reference").draw

      def exact_loss(g):
        return jnp.sum(draw(SPECS[name], (33, 41), project(g)) * cotangent)

      want = jax.tree.map(np.asarray, jax.grad(exact_loss)(wide))

    def loss(g):
      out = render(g, height=33, width=41, spec=self.spec(name))
      return jnp.sum(out.image * cotangent.astype(np.float32))

    got = jax.grad(loss)(Gaussians2D(*(jnp.asarray(x) for x in gaussians)))
    for field, a, b in zip(got._fields, got, want, strict=True):
      a = np.asarray(a, np.float64)
      norms = np.linalg.norm(a) * np.linalg.norm(b)
      assert np.sum(a * b) / norms > 0.9999, field
      assert np.linalg.norm(a - b) / np.linalg.norm(b) < 1e-4, field

  def test_equal_weights_go_to_the_lower_index(self):
    # Three equal splats on one point, only the first two may count.
    splats = jax.tree.map(
      lambda *leaves: jnp.concatenate(leaves),
      *(circle(8.0, 8.0, 3.0, feature=(f,)) for f in (0.2, 0.6, 9.0)),
    )
    spec = self.spec(top_k=2, epsilon=0.0)
    bins = bin_splats(splats, height=16, width=16, spec=spec)
    out = rasterize(splats, bins, height=16, width=16, spec=spec)
    np.testing.assert_allclose(out.image[8, 8], 0.4, rtol=1e-5)

  def test_nothing_to_draw(self):
    gaussians = random_gaussians(5)
    active = np.zeros(60, bool)
    out = render(
      gaussians, height=20, width=20, active=active, spec=self.spec()
    )
    np.testing.assert_array_equal(out.image, 0.0)
    grad = jax.grad(
      lambda g: jnp.sum(
        render(g, height=20, width=20, active=active, spec=self.spec()).image
      )
    )(Gaussians2D(*(jnp.asarray(x) for x in gaussians)))
    for leaf in grad:
      np.testing.assert_array_equal(leaf, 0.0)

  def test_extreme_splats_stay_finite(self):
    gaussians = random_gaussians(6, n=40)
    gaussians.log_scale[:10] = [-30.0, 40.0]
    gaussians.log_scale[10:20] = 40.0
    gaussians.log_scale[20:30] = -30.0
    gaussians.mean[30:33] = 1e20
    gaussians.mean[33:36] = -1e20
    gaussians.log_weight[36] = -np.inf

    def draw(g):
      return render(g, height=24, width=24, spec=self.spec()).image

    image, vjp = jax.vjp(draw, Gaussians2D(*map(jnp.asarray, gaussians)))
    assert np.isfinite(image).all()
    for leaf in vjp(jnp.ones_like(image))[0]:
      assert np.isfinite(leaf).all()

  def test_broken_splats_are_not_drawn(self):
    gaussians = random_gaussians(7, n=40)
    clean = render(gaussians, height=24, width=24, spec=self.spec()).image
    # First in the list too: what fills up a list's end must not show either.
    broken = jax.tree.map(
      lambda x: np.concatenate([x[:4], x, x[:4]]), gaussians
    )
    for first in (0, 44):
      broken.mean[first] = np.nan
      broken.log_scale[first + 1] = np.nan
      broken.angle[first + 2] = np.inf
      broken.log_weight[first + 3] = np.nan
    if self.backend == "reference":
      pytest.skip("the reference has no lists to leave a splat out of")
    image = render(broken, height=24, width=24, spec=self.spec()).image
    np.testing.assert_allclose(image, clean, atol=1e-6)

  def test_jit_vmap_scan(self):
    scenes = [random_gaussians(s, n=30, height=16, width=16) for s in range(4)]
    many = jax.tree.map(lambda *x: jnp.stack(x), *scenes)
    draw = functools.partial(
      render, height=16, width=16, spec=self.spec(max_pairs=1024)
    )
    one_by_one = np.stack([draw(scene).image for scene in scenes])
    batch = jax.jit(jax.vmap(draw))(many).image
    np.testing.assert_allclose(batch, one_by_one, atol=1e-6)
    nested = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), many)
    np.testing.assert_allclose(
      jax.vmap(jax.vmap(draw))(nested).image.reshape(batch.shape),
      one_by_one,
      atol=1e-6,
    )
    scanned = jax.lax.scan(lambda c, g: (c, draw(g).image), 0, many)[1]
    np.testing.assert_allclose(scanned, one_by_one, atol=1e-6)

    def loss(g):
      return jnp.sum(jnp.square(draw(g).image))

    batch = jax.vmap(jax.grad(loss))(many)
    single = [jax.grad(loss)(jax.tree.map(jnp.asarray, s)) for s in scenes]
    for a, b in zip(
      batch, jax.tree.map(lambda *x: jnp.stack(x), *single), strict=True
    ):
      np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-3)

  def test_long_lists(self):
    # Far more splats on one tile than any block or K.
    gaussians = random_gaussians(8, n=700, height=12, width=12, spread=0.0)
    out = render(gaussians, height=12, width=12, spec=self.spec())
    want = exact(gaussians, 12, 12, SPECS["norm"])
    assert out.dropped == 0
    np.testing.assert_allclose(out.image, want, atol=2e-5, rtol=1e-4)
