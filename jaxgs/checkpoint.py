"""A fit on disk: plain arrays in an .npz file that a later run goes on from."""

import hashlib
import io
import json
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs.codec import Lattice
from jaxgs.compress import Report, fit_image
from jaxgs.io import write_atomic
from jaxgs.job import Job
from jaxgs.state import FitState, init_fit

# Raised when a reader of the old files would misunderstand the new ones.
_VERSION = 2

# Of a lattice.
_SCALARS = [name for name in Lattice._fields if name != "feature_step"]


class Checkpoint(NamedTuple):
  """What a fit needs to go on.

  Attributes:
    state: Of the fit.
    lattice: The steps it is quantised with; None while they are not measured
      yet (see `QuantConfig.measured`).
  """

  state: FitState
  lattice: Lattice | None


def fingerprint_of(settings: Mapping, image: np.ndarray) -> str:
  """Names a fit by its settings and its image.

  Args:
    settings: What JSON can hold: nested mappings of numbers, strings, lists.
    image: Of any shape and dtype.

  Returns:
    64 hexadecimal digits of SHA-256: equal settings (in any order of names)
    and equal pixels give equal digits.

  Raises:
    ValueError: A setting is not finite.
  """
  text = json.dumps(
    settings, sort_keys=True, separators=(",", ":"), allow_nan=False
  )
  image = np.asarray(image)
  digest = hashlib.sha256(f"{text}\n{image.dtype.str}{image.shape}\n".encode())
  digest.update(image.tobytes())
  return digest.hexdigest()


def save_checkpoint(
  path: str | os.PathLike,
  state: FitState,
  *,
  fingerprint: str,
  lattice: Lattice | None = None,
) -> None:
  """Writes a fit; a kill at any moment leaves the old file or the new one.

  Args:
    path: Of the file to create or replace, by custom `.npz`.
    state: Of the fit.
    fingerprint: From `fingerprint_of`; `load_checkpoint` asks for the same.
    lattice: The steps of the quantiser, if they are known.

  Raises:
    ImageError: The file cannot be written.
  """
  arrays = {name: _plain(leaf) for name, leaf in _named_leaves(state)}
  if lattice is not None:
    arrays["lattice"] = np.array(
      [*(getattr(lattice, name) for name in _SCALARS), *lattice.feature_step],
      np.int64,
    )
  arrays["version"] = np.int64(_VERSION)
  arrays["fingerprint"] = np.array(fingerprint)
  buffer = io.BytesIO()
  np.savez(buffer, allow_pickle=False, **arrays)
  write_atomic(path, buffer.getvalue())


def load_checkpoint(
  path: str | os.PathLike, like: FitState, *, fingerprint: str
) -> Checkpoint:
  """Reads what `save_checkpoint` wrote, to the last bit.

  Args:
    path: Of the file.
    like: A state of the same fit, say from `init_fit`: gives the structure,
      the shapes and the kind of PRNG key.
    fingerprint: Of the fit that is to go on.

  Returns:
    Checkpoint.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is damaged, of another version, or of another fit.
  """
  arrays = _read_arrays(path)
  version = _scalar(arrays, "version")
  if version != _VERSION:
    raise ValueError(
      f"{path}: not a checkpoint of version {_VERSION} (version: {version})"
    )
  if _scalar(arrays, "fingerprint") != fingerprint:
    raise ValueError(
      f"{path}: the checkpoint is of another config or another image"
    )
  leaves = [
    _typed_leaf(path, name, arrays.get(name), leaf)
    for name, leaf in _named_leaves(like)
  ]
  state = jax.tree.unflatten(jax.tree.structure(like), leaves)
  return Checkpoint(state, _lattice(path, arrays, state))


def begin(key: jax.Array, job: Job) -> Checkpoint:
  """The start of a fit.

  Args:
    key: PRNG key.
    job: What to fit.

  Returns:
    Checkpoint before the first step.

  Raises:
    ValueError: More Gaussians than pixels.
  """
  measured_later = job.config.quant.measured
  return Checkpoint(
    init_fit(key, job.target, job.config.fit, mask=job.mask),
    None if measured_later else job.lattice(),
  )


def fit_with_checkpoints(
  key: jax.Array,
  job: Job,
  start: Checkpoint,
  path: str | os.PathLike,
  *,
  fingerprint: str,
  every_steps: int,
  report: Report | None = None,
) -> Checkpoint:
  """Fits from a checkpoint to the end, saving at the end of every stage.

  A stage takes nothing from the one before but its checkpoint, so that a fit
  that is killed and goes on ends with the same bits as one that is not.

  Args:
    key: PRNG key; the growth to come uses that of the state.
    job: What to fit.
    start: Where to begin or go on; without a lattice if it has to be measured.
    path: Of the checkpoint that is written again and again.
    fingerprint: For the checkpoints.
    every_steps: A stage ends at the multiples of it.
    report: Called with the state after every chunk of steps.

  Returns:
    The end of the fit, for `Job.encode`.

  Raises:
    ImageError: A checkpoint cannot be written.
  """
  config = job.config.fit
  (state, lattice), stopped = start, False
  while True:
    step = int(state.step)
    if lattice is None and (stopped or step >= config.quantize_step):
      # Steps can only be measured once there are Gaussians to measure.
      lattice, stopped = job.lattice(state), False
    if lattice is not None and (stopped or step >= config.num_steps):
      return Checkpoint(state, lattice)
    most = config.num_steps if lattice is not None else config.quantize_step
    until = min(step - step % every_steps + every_steps, most)
    state = fit_image(
      key,
      job.target,
      config,
      lattice=lattice,
      quant=job.config.quant,
      transform=job.transform,
      mask=job.mask,
      state=state,
      until=until,
      report=report,
    )
    stopped = int(state.step) < until
    save_checkpoint(path, state, fingerprint=fingerprint, lattice=lattice)


def _named_leaves(state: FitState) -> list[tuple[str, jax.Array]]:
  """The arrays of a state with names like "state.gaussians.mean"."""
  return [
    (f"state.{jax.tree_util.keystr(keys, simple=True, separator='.')}", leaf)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(state)
  ]


def _is_key(leaf: jax.Array) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: jax.Array) -> np.ndarray:
  return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _typed_leaf(path, name: str, found, like: jax.Array) -> jax.Array:
  """An array of the file as a leaf like `like`."""
  wanted = _plain(like)
  if found is None:
    raise ValueError(f"{path}: {name} is missing in the checkpoint")
  if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
    raise ValueError(
      f"{path}: {name} is {found.dtype}{found.shape}, expected"
      f" {wanted.dtype}{wanted.shape}"
    )
  leaf = jnp.asarray(found)
  if _is_key(like):
    leaf = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like))
  return leaf


def _lattice(path, arrays, state: FitState) -> Lattice | None:
  values = arrays.get("lattice")
  if values is None:
    return None
  num_scalars = len(_SCALARS)
  wanted = (num_scalars + state.gaussians.feature.shape[1],)
  if values.shape != wanted or values.dtype != np.int64:
    raise ValueError(f"{path}: lattice is {values.dtype}{values.shape}")
  values = values.tolist()
  scalars = dict(zip(_SCALARS, values[:num_scalars], strict=True))
  return Lattice(**scalars, feature_step=tuple(values[num_scalars:]))


def _read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
  data = pathlib.Path(path).read_bytes()
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
      return {name: archive[name] for name in archive.files}
  # Any type: zipfile, zlib and numpy raise a dozen on damaged archives.
  except Exception as error:
    reason = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"{path}: the checkpoint is damaged: {reason}") from error


def _scalar(arrays: dict[str, np.ndarray], name: str):
  value = arrays.get(name)
  return value.item() if value is not None and value.ndim == 0 else None
