import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jaxgs.kernels.rasterize import reference

from jaxgs.config import RasterSpec
from jaxgs.project import project
from jaxgs.types import Gaussians2D
from tests.kernels.rasterize_test_base import RasterizeTestBase
from tests.kernels.scenes import circle, random_gaussians


class TestReference(RasterizeTestBase):
  backend = "reference"


def test_one_splat_closed_form():
  splats = circle(3.25, 4.5, 2.0, log_weight=0.3, feature=(0.7, -0.2))
  tau = np.exp(-6.0)
  y, x = np.mgrid[:9, :8] + 0.5
  e = ((x - 3.25) ** 2 + (y - 4.5) ** 2) / (2 * 2.0**2)
  w = np.maximum(np.exp(0.3 - e) - tau, 0.0)[..., None]
  image = reference.draw(RasterSpec(blend="sum"), (9, 8), splats)
  np.testing.assert_allclose(image, w * [0.7, -0.2], atol=1e-6)
  image = reference.draw(RasterSpec(epsilon=1e-2), (9, 8), splats)
  np.testing.assert_allclose(image, w * [0.7, -0.2] / (w + 1e-2), atol=1e-6)


@pytest.mark.parametrize("blend", ["norm", "sum"])
@pytest.mark.parametrize("field", Gaussians2D._fields)
def test_gradient_against_differences(blend, field):
  # A step of the differences must not cross a change of the K largest or of
  # the support: few splats, all within their cutoff everywhere.
  spec = RasterSpec(blend=blend, cutoff=60.0, top_k=10)
  gaussians = random_gaussians(3, n=6, height=5, width=6, dtype=np.float64)
  with jax.enable_x64(True):

    def draw(value):
      splats = project(gaussians._replace(**{field: value}))
      return reference.draw(spec, (5, 6), splats)

    check_grads(
      draw,
      (getattr(gaussians, field),),
      order=1,
      modes=["rev"],
      eps=1e-6,
      atol=1e-6,
      rtol=1e-6,
    )


def test_gradient_of_the_k_largest():
  """With more splats than K the selection itself carries no gradient."""
  spec = RasterSpec(top_k=2)
  gaussians = random_gaussians(5, n=8, height=4, width=4, dtype=np.float64)
  with jax.enable_x64(True):
    draw = functools.partial(reference.draw, spec, (4, 4))
    check_grads(
      lambda f: draw(
        project(jax.tree.map(jnp.asarray, gaussians._replace(feature=f)))
      ),
      (gaussians.feature,),
      order=1,
      modes=["rev"],
      eps=1e-6,
      atol=1e-6,
      rtol=1e-6,
    )
