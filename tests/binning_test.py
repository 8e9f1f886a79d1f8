import dataclasses
import itertools

import jax
import numpy as np
import pytest
from jaxgs.kernels import load
from jaxgs.kernels.tiles import num_tiles

from jaxgs import kernels
from jaxgs.binning import bin_splats, count_pairs
from jaxgs.config import RasterSpec
from jaxgs.project import project
from tests.kernels.scenes import random_gaussians


@pytest.fixture(params=["cpu", "triton", "xla"])
def spec(request):
  # Tiles of one size, so that the tests can tell which is which.
  spec = RasterSpec(max_pairs=4096, backend=request.param, tile=16)
  skip_unless_served(spec)
  return spec


def skip_unless_served(spec):
  try:
    kernels.choose(spec.backend, spec, jax.default_backend())
  except NotImplementedError as error:
    pytest.skip(str(error))


def pairs_of(bins):
  starts = np.asarray(bins.starts)
  return {
    (tile, int(i))
    for tile in range(len(starts) - 1)
    for i in np.asarray(bins.ids)[starts[tile] : starts[tile + 1]]
  }


@pytest.mark.parametrize("tile", [4, 8, 16, 32])
def test_lists_hold_what_the_reference_draws_and_little_else(spec, tile):
  height, width = 50, 43
  spec = dataclasses.replace(spec, tile=tile)
  skip_unless_served(spec)  # Triton has no tiles of 4x4 px.
  splats = project(random_gaussians(0, n=80, height=height, width=width))
  got = pairs_of(bin_splats(splats, height=height, width=width, spec=spec))
  y, x = np.mgrid[:height, :width]
  weight = np.asarray(
    load("reference").weights(spec, splats, x.ravel() + 0.5, y.ravel() + 0.5)
  )
  cols = num_tiles(height, width, tile)[1]
  tile_of = ((y // tile) * cols + x // tile).ravel()
  want = {(int(tile_of[p]), int(n)) for p, n in np.argwhere(weight > 0)}
  assert want <= got
  assert len(got) < 1.15 * len(want)


def test_ids_ascend_within_a_tile(spec):
  splats = project(random_gaussians(1, n=100))
  bins = bin_splats(splats, height=33, width=41, spec=spec)
  starts, ids = np.asarray(bins.starts), np.asarray(bins.ids)
  for a, b in itertools.pairwise(starts):
    assert (np.diff(ids[a:b]) > 0).all()


def test_overflow_is_counted(spec):
  splats = project(random_gaussians(2, n=100))
  size = {"height": 33, "width": 41}
  wanted = int(count_pairs(splats, **size, spec=spec))
  small = dataclasses.replace(spec, max_pairs=50)
  bins = bin_splats(splats, **size, spec=small)
  assert bins.dropped == wanted - 50
  assert int(bins.starts[-1]) <= 50
  exact = dataclasses.replace(spec, max_pairs=wanted)
  assert bin_splats(splats, **size, spec=exact).dropped == 0


def test_overflow_of_int32_is_counted_too(spec):
  gaussians = random_gaussians(3, n=3000)
  gaussians.log_scale[:] = 11.0
  splats = project(gaussians)
  bins = jax.jit(lambda s: bin_splats(s, height=20000, width=20000, spec=spec))(
    splats
  )
  assert int(bins.dropped) > 2e9


def test_no_gradient_through_the_lists(spec):
  splats = project(random_gaussians(4))

  def total(mean):
    bins = bin_splats(
      splats._replace(mean=mean), height=33, width=41, spec=spec
    )
    return bins.starts.astype(np.float32).sum()

  np.testing.assert_array_equal(jax.grad(total)(splats.mean), 0.0)


def test_needles_and_nonsense(spec):
  gaussians = random_gaussians(5, n=40)
  gaussians.log_scale[:10] = [-5.0, 9.0]
  gaussians.log_scale[10:20] = -30.0
  gaussians.mean[20:25] = [1e20, -1e20]
  gaussians.mean[25] = np.nan
  gaussians.angle[26] = np.inf
  gaussians.log_weight[27] = np.nan
  gaussians.log_weight[28] = -np.inf
  splats = project(gaussians)
  bins = bin_splats(splats, height=33, width=41, spec=spec)
  got = pairs_of(bins)
  assert bins.dropped == 0
  assert not {i for _, i in got} & {20, 21, 22, 23, 24, 25, 26, 27, 28}
  y, x = np.mgrid[:33, :41]
  weight = np.asarray(
    load("reference").weights(spec, splats, x.ravel() + 0.5, y.ravel() + 0.5)
  )
  tile_of = ((y // 16) * 3 + x // 16).ravel()
  drawn = {(int(tile_of[p]), int(n)) for p, n in np.argwhere(weight > 0)}
  assert drawn <= got
