import functools
import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs.checkpoint import (
  Checkpoint,
  begin,
  fingerprint_of,
  fit_with_checkpoints,
  load_checkpoint,
  save_checkpoint,
)
from jaxgs.codec import Lattice
from jaxgs.compress import fit_image
from jaxgs.config import (
  CompressConfig,
  FieldBits,
  FitConfig,
  QuantConfig,
  RasterSpec,
  config_from_dict,
)
from jaxgs.job import Job
from jaxgs.state import init_fit

LATTICE = Lattice(3000, 768, 2000, 9000, (700, 800, 900), 11, 22, 33, 1)


def _state(seed=0, num_gaussians=12, impl=None):
  """All leaves differ from those of another seed and of a fresh state."""
  key = jax.random.key(seed, impl=impl)
  like = jax.eval_shape(
    functools.partial(init_fit, config=FitConfig(num_gaussians=num_gaussians)),
    key,
    jax.ShapeDtypeStruct((8, 9, 3), jnp.float32),
  )
  rng = np.random.default_rng(seed)

  def fill(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return key
    most = 2 if leaf.dtype == bool else 10**6
    return jnp.asarray(rng.integers(0, most, leaf.shape), leaf.dtype)

  return jax.tree.map(fill, like)


def _bits(tree):
  plain = tree._replace(key=jax.random.key_data(tree.key))
  return [
    (x.dtype, x.shape, x.tobytes())
    for x in map(np.asarray, jax.tree.leaves(plain))
  ]


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("lattice", [None, LATTICE])
def test_round_trip_is_exact(tmp_path, lattice, impl):
  path, state = tmp_path / "a.npz", _state(1, impl=impl)
  save_checkpoint(path, state, fingerprint="f", lattice=lattice)
  like = _state(2, impl=impl)
  loaded = load_checkpoint(path, like, fingerprint="f")
  assert _bits(loaded.state) == _bits(state)
  assert _bits(loaded.state) != _bits(like)
  assert loaded.state.key.dtype == state.key.dtype
  assert jax.tree.structure(loaded.state) == jax.tree.structure(state)
  # A weak type would make jit compile the steps again.
  arrays = jax.tree.leaves(loaded.state._replace(key=None))
  assert not any(x.weak_type for x in arrays)
  assert loaded.lattice == lattice
  draw = jax.random.uniform(loaded.state.key, (3,))
  np.testing.assert_array_equal(draw, jax.random.uniform(state.key, (3,)))


def test_another_fit_is_refused(tmp_path):
  path = tmp_path / "a.npz"
  save_checkpoint(path, _state(), fingerprint="f")
  with pytest.raises(ValueError, match=r"a\.npz: .*another config"):
    load_checkpoint(path, _state(), fingerprint="g")
  larger = _state(num_gaussians=13)
  with pytest.raises(ValueError, match=r"state\.gaussians\.mean is float32"):
    load_checkpoint(path, larger, fingerprint="f")
  with pytest.raises(ValueError, match=r"state\.key is uint32"):
    load_checkpoint(path, _state(impl="rbg"), fingerprint="f")
  with pytest.raises(FileNotFoundError):
    load_checkpoint(tmp_path / "b.npz", _state(), fingerprint="f")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"version": np.int64(99)}, r"version 2 \(version: 99\)"),
    ({"version": None}, r"version: None"),
    ({"state.mse": None}, r"state\.mse is missing"),
    ({"state.step": np.float32(3)}, r"state\.step is float32"),
    ({"lattice": np.zeros(3, np.int64)}, r"lattice is int64\(3,\)"),
    ({"fingerprint": np.array(["f", "f"])}, "another config"),
  ],
)
def test_wrong_contents_are_refused(tmp_path, change, message):
  path, state = tmp_path / "a.npz", _state()
  save_checkpoint(path, state, fingerprint="f", lattice=LATTICE)
  with np.load(path, allow_pickle=False) as archive:
    arrays = {**archive, **change}
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
  with pytest.raises(ValueError, match=message):
    load_checkpoint(path, state, fingerprint="f")


def test_damage_is_noticed(tmp_path):
  path, state = tmp_path / "a.npz", _state()
  save_checkpoint(path, state, fingerprint="f", lattice=LATTICE)
  data = path.read_bytes()
  rng = np.random.default_rng(0)
  num_refused = 0
  for position in rng.integers(0, len(data), 150):
    broken = bytearray(data)
    broken[position] ^= 1 << rng.integers(8)
    path.write_bytes(broken)
    try:
      loaded = load_checkpoint(path, state, fingerprint="f")
    except ValueError as error:
      num_refused += 1
      assert str(path) in str(error)
      assert "\n" not in str(error)
    else:  # A date or flag of the archive: the arrays are as they were.
      assert _bits(loaded.state) == _bits(state)
      assert loaded.lattice == LATTICE
  assert num_refused > 75
  for length in (0, 10, len(data) // 2, len(data) - 1):
    path.write_bytes(data[:length])
    with pytest.raises(ValueError, match="damaged"):
      load_checkpoint(path, state, fingerprint="f")


def test_pickles_are_not_opened(tmp_path):
  path = tmp_path / "a.npz"
  buffer = io.BytesIO()
  np.savez(buffer, version=np.array({"a": 1}, object), allow_pickle=True)
  path.write_bytes(buffer.getvalue())
  with pytest.raises(ValueError, match="allow_pickle=False"):
    load_checkpoint(path, _state(), fingerprint="f")


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "a.npz"
  save_checkpoint(path, _state(1), fingerprint="f")

  def full(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr("os.fsync", full)
  with pytest.raises(ValueError, match="No space left"):
    save_checkpoint(path, _state(2), fingerprint="f")
  monkeypatch.undo()
  loaded = load_checkpoint(path, _state(), fingerprint="f")
  assert _bits(loaded.state) == _bits(_state(1))
  assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_fingerprint():
  image = np.zeros((2, 3, 1), np.float32)
  settings = {"a": 1, "b": {"c": (1.5, 2), "d": None}}
  name = fingerprint_of(settings, image)
  swapped = {"b": {"d": None, "c": [1.5, 2]}, "a": 1}
  assert fingerprint_of(swapped, image) == name
  other = image.copy()
  other[1, 2, 0] = 1e-7
  names = {
    name,
    fingerprint_of({**settings, "a": 2}, image),
    fingerprint_of(settings, other),
    fingerprint_of(settings, image.reshape(3, 2, 1)),
    fingerprint_of(settings, image.view(np.int32)),
  }
  assert len(names) == 5
  with pytest.raises(ValueError, match="not JSON compliant"):
    fingerprint_of({"a": math.nan}, image)


class Killed(Exception):
  pass


def _fake_chunk(
  state, image, config, *, lattice, quant, transform, mask, num_steps
):
  """In place of `fit_chunk`: the result shows steps, order and lattice."""
  assert transform == (0,)
  assert quant is not None
  assert mask is None
  step = state.step + num_steps
  change = jnp.sin(step.astype(jnp.float32))
  if lattice is not None:
    change = change + jnp.asarray(lattice.feature_step[0, 63], jnp.float32)
  change = change + state.decay_step.astype(jnp.float32)
  gaussians = state.gaussians._replace(
    feature=0.9 * state.gaussians.feature + change
  )
  return state._replace(
    gaussians=gaussians,
    step=step,
    # The gain of 10 steps falls below 0.3 dB at step 55.
    mse=0.1 + jnp.exp(-0.1 * step.astype(jnp.float32)),
    dropped=jnp.int32(0),
  )


def _job(quant, **settings):
  fit = FitConfig(
    num_gaussians=12, num_steps=103, chunk_steps=5, growth_every=10, **settings
  )
  image = np.random.default_rng(0).random((6, 7, 3), np.float32)
  return Job.of(image, CompressConfig(fit=fit, quant=quant), bit_depth=8)


def _start(job):
  state, lattice = begin(jax.random.key(7), job)
  # The early stop waits for the last Gaussian.
  return Checkpoint(state._replace(active=jnp.ones(12, bool)), lattice)


def _fit(job, path, kill_step=None):
  start = _start(job)
  if path.exists():
    start = load_checkpoint(path, start.state, fingerprint="f")

  def report(state):
    if kill_step is not None and int(state.step) == kill_step:
      raise Killed

  return fit_with_checkpoints(
    jax.random.key(0),
    job,
    start,
    path,
    fingerprint="f",
    every_steps=20,
    report=report,
  )


BITS = QuantConfig(bits=FieldBits())
PLAIN = QuantConfig(adaptive=False)
EARLY = {"stop_gain_db": 0.3, "stop_steps": 10}


@pytest.mark.parametrize(
  ("quant", "settings", "last_step"),
  [
    (PLAIN, {}, 103),
    (QuantConfig(), {}, 103),
    (BITS, {}, 103),
    (BITS, {"quantize_start": 0.0}, 103),
    (BITS, {"quantize_start": 1.0}, 103),
    (PLAIN, EARLY, None),
    (BITS, EARLY, None),
    (BITS, {**EARLY, "stop_gain_db": 99.0}, None),
  ],
)
def test_a_kill_at_any_chunk_changes_nothing(
  tmp_path, monkeypatch, quant, settings, last_step
):
  monkeypatch.setitem(fit_image.__globals__, "fit_chunk", _fake_chunk)
  job = _job(quant, **settings)
  end = _fit(job, tmp_path / "whole.npz")
  step = int(end.state.step)
  assert step == last_step if last_step else 20 < step < 103
  assert (end.lattice == job.lattice()) == (not quant.measured)
  reloaded = _fit(job, tmp_path / "whole.npz")
  assert _bits(reloaded.state) == _bits(end.state)
  for kill_step in (5, 20, 25, 40, 60, 65, step):
    path = tmp_path / f"{kill_step}.npz"
    if kill_step <= step:
      with pytest.raises(Killed):
        _fit(job, path, kill_step)
    resumed = _fit(job, path)
    assert _bits(resumed.state) == _bits(end.state)
    assert resumed.lattice == end.lattice


@pytest.mark.parametrize("early", [{}, EARLY])
@pytest.mark.parametrize("quant", [PLAIN, QuantConfig(), BITS])
def test_stages_are_one_fit(tmp_path, monkeypatch, quant, early):
  monkeypatch.setitem(fit_image.__globals__, "fit_chunk", _fake_chunk)
  job = _job(quant, **early)
  end = _fit(job, tmp_path / "a.npz")
  key, config = jax.random.key(0), job.config.fit
  state, lattice = _start(job)
  options = {"quant": quant, "transform": job.transform}
  if lattice is None:
    until = config.quantize_step
    state = fit_image(
      key, job.target, config, state=state, until=until, **options
    )
    lattice = job.lattice(state)
  state = fit_image(
    key, job.target, config, state=state, lattice=lattice, **options
  )
  assert _bits(end.state) == _bits(state)
  assert end.lattice == lattice


def test_config_from_dict():
  config = config_from_dict(
    CompressConfig,
    {
      "gamma": 2,
      "fit": {"feature_range": [0, 1.5], "raster": {"top_k": 3}},
      "quant": {"bits": {"scale": 9}},
    },
  )
  assert config == CompressConfig(
    fit=FitConfig(feature_range=(0.0, 1.5), raster=RasterSpec(top_k=3)),
    quant=QuantConfig(bits=FieldBits(scale=9)),
    gamma=2.0,
  )
  # jit takes it as a static argument, and JSON must not see 2 for 2.0.
  assert isinstance(config.gamma, float)
  assert hash(config) == hash(
    config_from_dict(
      CompressConfig,
      {
        "gamma": 2.0,
        "fit": {"feature_range": (0.0, 1.5), "raster": {"top_k": 3}},
        "quant": {"bits": {"scale": 9}},
      },
    )
  )
  assert config_from_dict(QuantConfig, {"bits": None}) == QuantConfig()


@pytest.mark.parametrize(
  ("mapping", "message"),
  [
    ({"fit": {"raster": {"tap_k": 3}}}, r"unknown setting fit\.raster\.tap_k"),
    ({"fits": {}}, r"unknown setting fits; the config has fit, quant"),
    ({3: 4}, "unknown setting 3"),
    ({"fit": {"num_steps": 3.0}}, r"fit\.num_steps must be of type int"),
    ({"fit": {"num_steps": True}}, r"fit\.num_steps must be of type int"),
    ({"fit": {"init": None}}, r"fit\.init must be of type str, got None"),
    ({"fit": {"use_weight": 1}}, r"fit\.use_weight must be of type bool"),
    ({"gamma": "2"}, r"gamma must be of type float, got '2'"),
    ({"fit": 3}, "fit must be a mapping, got 3"),
    ({"fit": {"feature_range": [1.0]}}, r"fit\.feature_range must be 2 values"),
    ({"fit": {"feature_range": "ab"}}, r"fit\.feature_range must be 2 values"),
    (
      {"fit": {"feature_range": [0, "1"]}},
      r"fit\.feature_range\[1\] must be of type float",
    ),
    ({"quant": {"bits": {"scale": 17}}}, r"bits of scale must be in 1\.\.16"),
    ({"quant": {"bits": 7}}, r"quant\.bits must be a mapping"),
    ([], "the config must be a mapping"),
  ],
)
def test_config_from_dict_refuses(mapping, message):
  with pytest.raises(ValueError, match=message):
    config_from_dict(CompressConfig, mapping)
