import dataclasses
import itertools

import jax
import numpy as np
import pytest
from jaxgs.kernels import load

from jaxgs.binning import bin_splats, count_pairs, num_tiles
from jaxgs.config import RasterSpec
from jaxgs.project import project
from tests.kernels.scenes import random_gaussians

SPEC = RasterSpec(max_pairs=4096)


def pairs_of(bins):
  starts = np.asarray(bins.starts)
  return {
    (tile, int(i))
    for tile in range(len(starts) - 1)
    for i in np.asarray(bins.ids)[starts[tile] : starts[tile + 1]]
  }


@pytest.mark.parametrize("tile", [8, 16])
def test_lists_hold_what_the_reference_draws_and_little_else(tile):
  height, width = 50, 43
  spec = dataclasses.replace(SPEC, tile=tile)
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


def test_ids_ascend_within_a_tile():
  splats = project(random_gaussians(1, n=100))
  bins = bin_splats(splats, height=33, width=41, spec=SPEC)
  starts, ids = np.asarray(bins.starts), np.asarray(bins.ids)
  for a, b in itertools.pairwise(starts):
    assert (np.diff(ids[a:b]) > 0).all()


def test_overflow_is_counted():
  splats = project(random_gaussians(2, n=100))
  size = {"height": 33, "width": 41}
  wanted = int(count_pairs(splats, **size, spec=SPEC))
  small = dataclasses.replace(SPEC, max_pairs=50)
  assert bin_splats(splats, **size, spec=small).dropped == wanted - 50
  exact = dataclasses.replace(SPEC, max_pairs=wanted)
  assert bin_splats(splats, **size, spec=exact).dropped == 0


def test_overflow_of_int32_is_counted_too():
  gaussians = random_gaussians(3, n=3000)
  gaussians.log_scale[:] = 11.0
  splats = project(gaussians)
  bins = jax.jit(
    lambda s: bin_splats(
      s, height=20000, width=20000, spec=dataclasses.replace(SPEC, tile=16)
    )
  )(splats)
  assert int(bins.dropped) > 2e9


def test_no_gradient_through_the_lists():
  splats = project(random_gaussians(4))

  def total(mean):
    bins = bin_splats(
      splats._replace(mean=mean), height=33, width=41, spec=SPEC
    )
    return bins.starts.astype(np.float32).sum()

  np.testing.assert_array_equal(jax.grad(total)(splats.mean), 0.0)
