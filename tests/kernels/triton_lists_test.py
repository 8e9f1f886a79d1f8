"""Lists of the backend in Triton where room is short or many programs share.

They also run in Triton's interpreter, from `triton_test`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxgs.kernels import load, triton_tuning
from jaxgs.kernels.binning import triton as triton_binning

from jaxgs.binning import bin_splats
from jaxgs.config import RasterSpec
from tests.kernels.scenes import circle
from tests.kernels.triton_test import assert_same_lists, needs_kernels, scene


def assert_part_of_lists(got, whole):
  """No more is missing than `got.dropped`, and nothing is listed twice."""
  starts = np.asarray(got.starts)
  assert (np.diff(starts) >= 0).all()
  assert starts[-1] <= len(got.ids)
  assert whole.starts[-1] - starts[-1] <= got.dropped
  for tile in range(len(starts) - 1):
    listed, wanted = (
      np.asarray(b.ids[int(b.starts[tile]) : int(b.starts[tile + 1])])
      for b in (got, whole)
    )
    assert (np.diff(listed) > 0).all()
    assert set(listed) <= set(wanted)


def check_slots():
  """Lists of two scenes of three groups of splats, in one call.

  There is room for some, for all but one, and for all of the boxes of the first
  scene; those of the second are fewer.
  """
  size, tiles = (72, 64), 72
  scenes = [scene(seed, 70, size, channels=1) for seed in range(2)]
  # So many that cover everything that each of a group's programs has rounds.
  blocks = triton_tuning.blocks()
  most = 2 * blocks.candidates * blocks.sharers // tiles
  scenes[0] = jax.tree.map(
    lambda x, y: x.at[40 : 41 + most].set(y), scenes[0], circle(30, 40, 60)
  )
  spec = RasterSpec(backend="triton", max_pairs=4096, tile=8)
  xla = load("xla", "binning")
  boxes = [int(xla.count_pairs(spec, size, s)) for s in scenes]
  assert boxes[1] < boxes[0] - 1
  wholes = [xla.bin_splats(spec, size, s) for s in scenes]
  both = jax.tree.map(lambda *x: jnp.stack(x), *scenes)
  for room in (77, boxes[0] - 1, boxes[0]):
    spec = dataclasses.replace(spec, max_pairs=room)
    bin_both = functools.partial(triton_binning.bin_splats, spec, size)
    bins = jax.vmap(bin_both)(both)
    for i in range(2):
      got = jax.tree.map(lambda x, i=i: x[i], bins)
      assert got.dropped == max(boxes[i] - room, 0)
      if got.dropped == 0:
        assert_same_lists(got, wholes[i])
      assert_part_of_lists(got, wholes[i])


@needs_kernels
def test_lists_are_cut_where_there_is_no_room():
  splats = scene(2, 50, (40, 40))
  spec = RasterSpec(backend="triton", max_pairs=64, tile=16)
  bins = bin_splats(splats, height=40, width=40, spec=spec)
  assert bins.dropped > 0
  # What is listed are splats that belong there.
  whole = bin_splats(
    splats,
    height=40,
    width=40,
    spec=dataclasses.replace(spec, max_pairs=1024),
  )
  assert_part_of_lists(bins, whole)


@needs_kernels
def test_slots():
  check_slots()
