import dataclasses
import os
import subprocess
import sys
import threading
import types

import jax
import numpy as np
import pytest

import jaxgs
from jaxgs import buckets, stream
from jaxgs.batch import fit_batch
from jaxgs.compress import fit_image
from jaxgs.config import FieldBits, FitConfig, QuantConfig, RasterSpec
from jaxgs.fit_together import Batch, _next_turn, _stopped_early, fit_together
from jaxgs.job import Job
from jaxgs.state import init_fit
from jaxgs.stream import compress_batch, compress_jobs
from tests.pictures import blobs

CONFIG = FitConfig(
  num_gaussians=40,
  num_steps=80,
  chunk_steps=10,
  initial_ratio=0.5,
  growth_every=10,
  growth_rounds=2,
  # Which splats move hangs on the last bits, and small ones multiply them: no
  # two programs would agree.
  relocate_ratio=0.0,
  growth_scale=0.3,
  decay_start=0.625,
  quantize_start=0.75,
  stop_gain_db=2.0,
  stop_steps=10,
  raster=RasterSpec(max_pairs=1024),
)
# Without growth it compiles in half of the time.
SHORT = dataclasses.replace(
  CONFIG,
  num_steps=20,
  growth_rounds=0,
  decay_start=0.4,
  quantize_start=0.5,
  stop_gain_db=0.0,
)
LATTICE = jaxgs.lattice_of(QuantConfig(), 3, "ycocg")
ONE_STEP = jaxgs.preset("fast", num_gaussians=9, num_steps=1)


SAME = np.array([0, 0])
FLAT = np.full((24, 32, 3), 0.3, np.float32)


def picture(seed, height=24, width=32):
  return np.asarray(blobs(seed, height, width))


def pixels(seed, height=24, width=32, dtype=np.uint8):
  peak = np.iinfo(dtype).max
  return np.rint(picture(seed, height, width) * peak).astype(dtype)


def keys(count):
  return jax.random.split(jax.random.key(0), count)


def psnr_db(state):
  return -10 * np.log10(float(state.mse))


def file_psnr_db(data, image):
  out = jaxgs.decompress(data)
  assert (out.shape, out.dtype) == (image.shape, image.dtype)
  error = (out.astype(float) - image) / np.iinfo(image.dtype).max
  return -10 * np.log10(np.mean(error**2))


def assert_equal(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(x, y)


def test_each_ends_as_alone_with_its_own_early_stop():
  images = [picture(0), FLAT, picture(2)]
  options = {"lattice": LATTICE, "transform": "ycocg"}
  done = []
  states = fit_batch(keys(3), images, CONFIG, **options, progress=done.append)
  difference_db = []
  for key, image, state in zip(keys(3), images, states, strict=True):
    alone = fit_image(key, image, CONFIG, **options)
    assert state.decay_step == alone.decay_step
    assert state.step == alone.step == alone.decay_step + 30
    difference_db.append(psnr_db(state) - psnr_db(alone))
  # Rounding differs between the programs, and steps multiply it.
  assert max(map(abs, difference_db)) < 1
  assert sum(done) == sum(state.step for state in states)
  assert len({int(state.step) for state in states}) > 1
  # Neither who watches nor the neighbours make a difference.
  other = [picture(0), FLAT, picture(7)]
  assert_equal(states[:2], fit_batch(keys(3), other, CONFIG, **options)[:2])


def test_next_turn():
  # The decay begins at 45 and the lattice at 50 of 60; early stops were at 10
  # and 20.
  config = dataclasses.replace(
    CONFIG, num_steps=60, decay_start=0.75, quantize_start=0.8
  )
  assert (config.decay_step, config.quantize_step) == (45, 50)

  def turn(steps, decay_steps, quantizes=True):
    states = types.SimpleNamespace(
      step=np.int32(steps), decay_step=np.int32(decay_steps)
    )
    live, settling, *rest = _next_turn(states, config, quantizes)
    return live.tolist(), settling.tolist(), *rest

  both, none = [True, True], [False, False]
  assert turn([10, 10], [45, 10]) == (both, none, 5, False)  # To 10 + 5.
  assert turn([10, 10], [45, 10], False) == (both, none, 10, True)
  assert turn([15, 15], [45, 10]) == (both, [False, True], 5, True)
  assert turn([20, 20], [20, 10]) == (both, [False, True], 5, False)
  assert turn([25, 25], [20, 10]) == ([True, False], [True, False], 5, False)
  assert turn([30, 25], [20, 10]) == ([True, False], [True, False], 5, False)
  assert turn([35, 25], [20, 10]) == (none, none, 0, False)
  # Growth is over at 20, but at 30 splats may still move, at 40 not.
  config = dataclasses.replace(config, relocate_ratio=0.1, relocate_until=0.6)
  assert turn([20, 20], [45, 45]) == (both, none, 10, True)
  assert turn([30, 30], [45, 45]) == (both, none, 10, False)


def test_a_chunk_that_was_cut_is_no_sign_of_a_stall():
  batch = Batch(FLAT, None, None)
  state = init_fit(jax.random.key(0), FLAT, CONFIG)
  state = state._replace(
    active=np.ones(40, bool), past_mse=np.float32([0.1, 0.1]), mse=0.1
  )
  for step, decay_step in ((30, 30), (25, 50), (60, 50)):
    found = _stopped_early(state._replace(step=step), batch, CONFIG)
    assert found.decay_step == decay_step


def test_sizes_and_numbers_of_gaussians_differ():
  config = dataclasses.replace(CONFIG, stop_gain_db=0.0)
  sizes, counts = ((24, 32), (21, 25), (22, 29)), [40, 20, 33]
  images = [picture(i, *size) for i, size in enumerate(sizes)]
  states = fit_batch(keys(3), images, config, num_gaussians=counts)
  for size, n, state in zip(sizes, counts, states, strict=True):
    assert state.active.shape == (n,)
    assert state.active.all()
    assert (state.gaussians.mean >= 0).all()
    assert (state.gaussians.mean <= size[::-1]).all()
    assert state.step == 80
  alone = fit_image(
    keys(3)[1], images[1], dataclasses.replace(config, num_gaussians=20)
  )
  assert abs(psnr_db(states[1]) - psnr_db(alone)) < 1.0  # Another first draw.
  # What stands in the padding does not matter.
  masks = np.zeros((3, 24, 32), np.float32)
  for mask, (height, width) in zip(masks, sizes, strict=True):
    mask[:height, :width] = 1
  results = []
  for value in (0.0, 9.0):
    padded = np.full((3, 24, 32, 3), value, np.float32)
    for out, image in zip(padded, images, strict=True):
      out[: image.shape[0], : image.shape[1]] = image
    batch = Batch(padded, masks, np.int32(counts))
    options = {
      "quant": None,
      "transform": "none",
      "devices": None,
      "progress": None,
    }
    results.append(
      fit_together(keys(3), batch, config, lattice_at=None, **options)
    )
  assert_equal(*results)
  np.testing.assert_array_equal(results[0].mse, [state.mse for state in states])


def test_callers_masks():
  mask = np.ones((24, 32), bool)
  mask[:, 20:] = False
  garbage = picture(0) * mask[..., None] + 5 * ~mask[..., None]
  images = [picture(0), garbage.astype(np.float32)]
  first, second = fit_batch(keys(1)[SAME], images, SHORT, [mask, mask])
  assert_equal(first, second)
  assert (first.gaussians.mean[:, 0] <= 20).all()


def test_overflow_is_retried():
  images = [picture(0), picture(1)]
  roomy = fit_batch(keys(2), images, SHORT)
  config = dataclasses.replace(SHORT, raster=RasterSpec(max_pairs=64))
  tight = fit_batch(keys(2), images, config)
  assert_equal(tight, roomy)
  assert all(state.dropped == 0 for state in tight)


def test_keys_are_per_image():
  same, again = fit_batch(keys(2)[SAME], [picture(0)] * 2, SHORT)
  assert_equal(same, again)
  same, other = fit_batch(keys(2), [picture(0)] * 2, SHORT)
  assert_equal(same, again)
  assert (same.gaussians.mean != other.gaussians.mean).any()


def test_arguments():
  assert fit_batch(keys(1)[:0], [], CONFIG) == []
  assert compress_batch([]) == []
  with pytest.raises(ValueError, match="masks must be 1 like images, got 2"):
    fit_batch(keys(1), [picture(0)], CONFIG, [None, None])
  with pytest.raises(ValueError, match=r"images\[0\] must be \(H, W, C\)"):
    fit_batch(keys(1), [picture(0)[0]], CONFIG)
  with pytest.raises(ValueError, match=r"num_gaussians\[0\] must be in 1..768"):
    fit_batch(keys(1), [picture(0)], CONFIG, num_gaussians=[769])
  with pytest.raises(ValueError, match=r"masks\[0\] must be \(24, 32\)"):
    fit_batch(keys(1), [picture(0)], CONFIG, [np.ones((3, 3))])
  with pytest.raises(ValueError, match=r"images\[1\]: num_gaussians must be"):
    compress_batch([pixels(0), pixels(0)[:2, :2]], ONE_STEP)


def test_files():
  config = jaxgs.preset("fast", num_gaussians=60, num_steps=1)
  config = dataclasses.replace(config, gamma=1.5)
  deep = np.concatenate([pixels(i, dtype=np.uint16) for i in (2, 3)], -1)
  images = [pixels(0), deep[..., 2:4], pixels(1, 20, 31)]
  for image, data in zip(images, compress_batch(images, config), strict=True):
    header, _ = jaxgs.decode(data)
    assert header.num_gaussians == 60
    assert header.pictures[0].has_alpha == (image.shape[2] == 2)
    assert file_psnr_db(data, image) > 14


def test_each_image_measures_its_lattice():
  quant = QuantConfig(bits=FieldBits(weight=3, feature=5))
  config = jaxgs.CompressConfig(fit=SHORT, quant=quant)
  images = [pixels(0), pixels(1)]
  files = compress_batch(images, config)
  lattices = [jaxgs.decode(data)[0].lattice for data in files]
  assert lattices[0] != lattices[1]
  alone = jaxgs.decode(jaxgs.compress(images[1], config))[0].lattice
  for field in ("scale_step", "weight_step", "feature_step"):
    found, expected = (getattr(x, field) for x in (lattices[1], alone))
    np.testing.assert_allclose(found, expected, rtol=0.1)
  for image, data in zip(images, files, strict=True):
    assert file_psnr_db(data, image) > 20


def test_coding_overlaps_and_faults_stay_with_their_image(monkeypatch):
  # Every image is a program of its own.
  monkeypatch.setattr(buckets, "_PROGRAM_PIXELS", {"cpu": 1, "gpu": 1})
  fitted = threading.Semaphore(0)

  def then(name, job, data):
    assert threading.current_thread() is not threading.main_thread()
    # Of the image itself, which is over, and of the next.
    assert name == 2 or all(fitted.acquire(timeout=60) for _ in range(2))
    if name == 1:
      raise OSError("disk full")
    return len(data)

  jobs = [(i, Job.of(pixels(i), ONE_STEP)) for i in range(3)]
  found = list(
    compress_jobs(jobs, progress=lambda _: fitted.release(2), then=then)
  )
  assert [done.name for done in found] == [0, 1, 2]
  assert [str(done.error) for done in found] == ["None", "disk full", "None"]
  assert [done.value is None for done in found] == [False, True, False]


def test_programs_that_do_not_fit_into_memory(monkeypatch):
  def fit(keys, batch, *args, **options):
    if len(keys) > 1:
      raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    if batch.images.max() == 1.0:
      raise RuntimeError("RESOURCE_EXHAUSTED: even alone")
    return fit_together(keys, batch, *args, **options)

  monkeypatch.setattr(stream, "fit_together", fit)
  images = [pixels(0), pixels(1), pixels(2)]
  images[1][0, 0] = 255
  jobs = [(i, Job.of(image, ONE_STEP)) for i, image in enumerate(images)]
  found = {done.name: done for done in compress_jobs(jobs)}
  assert "even alone" in str(found[1].error)
  for i in (0, 2):
    assert file_psnr_db(found[i].value, images[i]) > 10
  with pytest.raises(RuntimeError, match="even alone"):
    compress_batch(images, ONE_STEP)


DEVICES = """
import jax
from tests.batch_test import *
assert jax.device_count() == 4
images = [picture(i) for i in range(6)]  # Not a multiple of 4.

def run(images, devices):
  options = {"lattice": LATTICE, "transform": "ycocg", "devices": devices}
  return fit_batch(keys(6)[: len(images)], images, SHORT, **options)

plain = run(images, None)
assert_equal(run(images, jax.devices()[:1]), plain)
shared = run(images, jax.devices())
# XLA groups its sums otherwise for other numbers of images.
for a, b in zip(shared, plain):
  assert abs(psnr_db(a) - psnr_db(b)) < 0.5
  assert np.median(np.abs(a.gaussians.mean - b.gaussians.mean)) < 0.1
"""


def test_devices():
  flags = os.environ.get("XLA_FLAGS", "")
  flags += " --xla_force_host_platform_device_count=4"
  out = subprocess.run(
    [sys.executable, "-c", DEVICES],
    env=os.environ | {"XLA_FLAGS": flags},
    capture_output=True,
    text=True,
    check=False,
  )
  assert out.returncode == 0, out.stderr
