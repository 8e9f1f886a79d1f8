"""Many images in one program: buckets of like sizes, on one or more devices.

Images of a bucket are padded to one size and fitted side by side by one vmapped
program, each with its own number of Gaussians and its own end; over several
devices the images are shared out with `shard_map`. While a bucket is fitted,
threads of the host write the files of the one before.
"""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxgs import codec
from jaxgs.compress import Job, with_more_pairs
from jaxgs.config import CompressConfig, FitConfig
from jaxgs.fit import fit_chunk, resolve
from jaxgs.quantize import DeviceLattice, device_lattice
from jaxgs.state import FitState, init_fit

# Sizes that differ by less than this share a bucket: padding costs time, a
# bucket of its own costs a compilation.
_ROUND_PX = 64

# Pixels of one program: 85 pictures of 768x512. A step keeps about ten arrays
# of the picture's size.
MAX_BATCH_PIXELS = 1 << 25

_AXIS = "images"

# Called after each chunk with the number of image-steps that it did.
Progress = Callable[[int], None]


class _Batch(NamedTuple):
  """The arrays of a bucket, with a leading axis of B images.

  Attributes:
    images: (B, H, W, C) float32, padded with zeros.
    masks: (B, H, W) float32, 0 where an image is padding; None where none is.
    num_gaussians: (B,) int32, or None where all use the capacity.
  """

  images: jax.Array
  masks: jax.Array | None
  num_gaussians: jax.Array | None


def fit_batch(
  keys: jax.Array,
  images: Sequence[jax.Array],
  config: FitConfig,
  masks: Sequence[jax.Array] | None = None,
  *,
  num_gaussians: Sequence[int] | None = None,
  lattice: codec.Lattice | None = None,
  transform: str = "none",
  devices: Sequence[jax.Device] | None = None,
  progress: Progress | None = None,
) -> list[FitState]:
  """Fits many images, those of like sizes in one program.

  Args:
    keys: (B,) PRNG keys.
    images: B images (H, W, C) float32 in [0, 1], of any sizes.
    config: Settings; its early stop is each image's own.
    masks: B masks (H, W), 0 where a pixel does not count; none when None.
    num_gaussians: B numbers of Gaussians; `config.num_gaussians` when None.
    lattice: Round to it as `fit_image` does.
    transform: Colour transform of the quantiser.
    devices: Share the images of a program among these; one device when None.
    progress: Called after each chunk with the image-steps that it did.

  Returns:
    The last state of each image, as arrays of numpy. Capacities are those of
    the bucket: more Gaussians than `active` ones.

  Raises:
    ValueError: More Gaussians than pixels, or lists of different lengths.
  """
  count = len(images)
  images = [np.asarray(image, np.float32) for image in images]
  if num_gaussians is None:
    num_gaussians = [config.num_gaussians] * count
  for name, other in (
    ("keys", keys), ("masks", masks), ("num_gaussians", num_gaussians)
  ):
    if other is not None and len(other) != count:
      raise ValueError(f"{name} must be {count} like images, got {len(other)}")
  results = [None] * count
  groups = collections.defaultdict(list)
  for i, image in enumerate(images):
    groups[bucket_of(image.shape)].append(i)
  for members in groups.values():
    for part in _parts(members, [images[i].shape for i in members]):
      batch = _batch_of(
        [images[i] for i in part],
        None if masks is None else [masks[i] for i in part],
        [num_gaussians[i] for i in part],
      )
      states = _fit_bucket(
        keys[np.array(part)],
        batch,
        dataclasses.replace(
          config, num_gaussians=max(num_gaussians[i] for i in part)
        ),
        lattices=None if lattice is None else [lattice] * len(part),
        transform=transform,
        devices=devices,
        progress=progress,
      )
      for place, i in enumerate(part):
        results[i] = _take(states, place)
  return results


def bucket_of(shape: tuple[int, ...]) -> tuple[int, ...]:
  """What images of one bucket have in common: the size, roughly; the channels.

  Args:
    shape: (H, W, C).

  Returns:
    A key.
  """
  height, width, channels = shape
  return -(-height // _ROUND_PX), -(-width // _ROUND_PX), channels


def _parts(members: list, shapes: list) -> Iterator[list]:
  """Members of a bucket in lists that fit into one program."""
  size = _most(shapes[0])
  for first in range(0, len(members), size):
    yield members[first : first + size]


def _most(shape: tuple[int, ...]) -> int:
  """How many images of about this shape fit into one program."""
  return max(1, MAX_BATCH_PIXELS // (shape[0] * shape[1]))


def _batch_of(images, masks, num_gaussians) -> _Batch:
  """Pads and stacks."""
  height, width = (max(i.shape[axis] for i in images) for axis in (0, 1))

  def pad(array):
    rest = ((0, height - array.shape[0]), (0, width - array.shape[1]))
    return np.pad(array, rest + ((0, 0),) * (array.ndim - 2))

  same = all(image.shape[:2] == (height, width) for image in images)
  if masks is None and not same:
    masks = [np.ones(image.shape[:2], np.float32) for image in images]
  if masks is not None:
    masks = np.stack([pad(np.asarray(mask, np.float32)) for mask in masks])
  for image, n in zip(images, num_gaussians, strict=True):
    if n > image.shape[0] * image.shape[1]:
      raise ValueError(
        f"num_gaussians must be at most {image.shape[0] * image.shape[1]} (the"
        f" pixels of the image), got {n}"
      )
  equal = len(set(num_gaussians)) == 1
  return _Batch(
    images=np.stack([pad(image) for image in images]),
    masks=masks,
    num_gaussians=None if equal else np.array(num_gaussians, np.int32),
  )


def _take(tree, place: int):
  """One image's part of a batch."""
  return jax.tree.map(lambda leaf: leaf[place], tree)


def _to_host(states: FitState) -> FitState:
  """As arrays of numpy, the keys as they are."""
  key = states.key
  host = jax.tree.map(np.asarray, states._replace(key=None))
  return host._replace(key=key)


@functools.partial(
  jax.jit, static_argnames=("config", "transform", "num_steps", "mesh")
)
def _advance(
  states: FitState,
  live: jax.Array,
  settling: jax.Array,
  batch: _Batch,
  lattices: DeviceLattice | None,
  *,
  config: FitConfig,
  transform: str,
  num_steps: int,
  mesh: Mesh | None,
) -> FitState:
  """Some steps of all images; those that are not live stay as they are."""

  def one(state, live, settling, batch, lattice):
    new = fit_chunk(
      state,
      batch.images,
      config,
      lattice=lattice,
      transform=transform,
      mask=batch.masks,
      num_gaussians=batch.num_gaussians,
      settling=settling,
      num_steps=num_steps,
    )
    past = jnp.append(new.past_mse[1:], new.mse)
    new = new._replace(past_mse=past)
    return jax.tree.map(lambda a, b: jnp.where(live, a, b), new, state)

  return _shared(jax.vmap(one), mesh)(states, live, settling, batch, lattices)


@functools.partial(jax.jit, static_argnames=("config", "mesh"))
def _begin(keys, batch: _Batch, *, config: FitConfig, mesh: Mesh | None):
  def one(key, batch):
    return init_fit(
      key,
      batch.images,
      config,
      mask=batch.masks,
      num_gaussians=batch.num_gaussians,
    )

  return _shared(jax.vmap(one), mesh)(keys, batch)


def _shared(function: Callable, mesh: Mesh | None) -> Callable:
  """The function of whole batches, each device on its part of the images."""
  if mesh is None:
    return function
  split = PartitionSpec(_AXIS)
  # A kernel's outputs carry no marks of how they vary over the devices.
  return jax.shard_map(
    function, mesh=mesh, in_specs=split, out_specs=split, check_vma=False
  )


def _fit_bucket(
  keys: jax.Array,
  batch: _Batch,
  config: FitConfig,
  *,
  lattices: Sequence[codec.Lattice] | Callable | None,
  transform: str,
  devices: Sequence[jax.Device] | None,
  progress: Progress | None,
) -> FitState:
  """Fits a bucket to the end: `compress.fit_image` for B images.

  Args:
    keys: (B,).
    batch: B images.
    config: `num_gaussians` is the capacity.
    lattices: One per image, or a function that tells them from the states when
      the first image begins to settle; no rounding when None.
    transform: Colour transform of the quantiser.
    devices: Of the mesh.
    progress: See `fit_batch`.

  Returns:
    FitState with a leading axis B, on the host.
  """
  config = resolve(config)
  count = len(batch.images)
  mesh = None if devices is None else Mesh(np.array(devices), (_AXIS,))
  if mesh is not None:
    # Every device gets as many: the last image stands in, and is dropped.
    places = np.minimum(np.arange(-(-count // mesh.size) * mesh.size), count - 1)
    keys, batch = keys[places], jax.tree.map(lambda leaf: leaf[places], batch)
  batch = jax.tree.map(jnp.asarray, batch)
  states = _begin(keys, batch, config=config, mesh=mesh)
  steps_on_device = None
  while True:
    step, decay = np.asarray(states.step), np.asarray(states.decay_step)
    end = np.minimum(
      decay + (config.num_steps - config.decay_step), config.num_steps
    )
    turn = decay + (config.quantize_step - config.decay_step)
    live = step < end
    if not live.any():
      return jax.tree.map(lambda leaf: leaf[:count], _to_host(states))
    settling = (step >= turn) & (lattices is not None)
    if settling.any() and steps_on_device is None:
      found = lattices(_to_host(states)) if callable(lattices) else lattices
      found = [*found] + [found[-1]] * (len(step) - len(found))
      steps_on_device = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *map(device_lattice, found)
      )
    # To the next multiple of a chunk, or to where some image turns or ends.
    ahead = np.stack([config.chunk_steps - step % config.chunk_steps, end - step])
    if lattices is not None:
      ahead = np.append(ahead, np.where(turn > step, turn - step, end - step))
    ahead = ahead.reshape(-1, len(step))[:, live]
    new = _advance(
      states,
      live,
      settling,
      batch,
      steps_on_device,
      config=config,
      transform=transform,
      num_steps=int(ahead.min()),
      mesh=mesh,
    )
    if int(new.dropped.max()):
      # Splats were missing from a picture: the same steps again with room.
      config = with_more_pairs(config, batch.images.shape[1:3])
      continue
    states = _stop_early(new, live, batch.num_gaussians, config)
    if progress is not None:
      progress(int(ahead.min()) * int(live[:count].sum()))


def _stop_early(states: FitState, live, num_gaussians, config: FitConfig):
  """Begins the decay of the images whose PSNR has stalled."""
  if config.stop_gain_db <= 0:
    return states
  if num_gaussians is None:
    num_gaussians = config.num_gaussians
  grown = np.asarray(states.active).sum(axis=1) >= num_gaussians
  past = np.asarray(states.past_mse)
  # inf before there were as many steps: then the gain is infinite.
  gain_db = 10.0 * np.log10(past[:, 0] / np.maximum(past[:, -1], 1e-12))
  step, decay = np.asarray(states.step), np.asarray(states.decay_step)
  stalled = live & grown & (step < decay) & (gain_db < config.stop_gain_db)
  return states._replace(
    decay_step=jnp.asarray(np.where(stalled, step, decay), jnp.int32)
  )


def compress_batch(
  images: Sequence[np.ndarray],
  config: CompressConfig | None = None,
  *,
  key: jax.Array | None = None,
  devices: Sequence[jax.Device] | None = None,
  progress: Progress | None = None,
) -> list[bytes]:
  """Turns images into the bytes of `.jgs` files, many in one program.

  Args:
    images: As for `compress`, of any sizes and depths.
    config: Settings; those of `compress` for each image when None.
    key: PRNG key of every image; a fixed one when None.
    devices: Share the images of a program among these; one device when None.
    progress: Called after each chunk with the image-steps that it did.

  Returns:
    The files, in the order of the images.

  Raises:
    ValueError: An image or a setting is out of range.
  """
  jobs = enumerate(Job.of(image, config) for image in images)
  options = {"key": key, "devices": devices, "progress": progress}
  return [data for _, data in sorted(compress_jobs(jobs, **options))]


def compress_jobs(
  jobs: Iterable[tuple],
  *,
  key: jax.Array | None = None,
  devices: Sequence[jax.Device] | None = None,
  progress: Progress | None = None,
) -> Iterator[tuple]:
  """Compresses a stream of jobs, bucket by bucket.

  A bucket is fitted as soon as it is full, the rest at the end of the stream;
  no more images are held than fill the buckets.

  Args:
    jobs: (name, Job); settings other than the number of Gaussians may differ.
    key: See `compress_batch`.
    devices: See `compress_batch`.
    progress: See `compress_batch`.

  Yields:
    (name, bytes of the file) in the order in which they are done.
  """
  key = jax.random.key(0) if key is None else key
  waiting = collections.defaultdict(list)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    writing = collections.deque()

    def run(bucket):
      names, group = zip(*bucket, strict=True)
      return [
        pool.submit(lambda name=name, write=write: (name, write()))
        for name, write in zip(
          names, _fit_jobs(group, key, devices, progress), strict=True
        )
      ]

    def finished(all_of_them):
      while writing and (all_of_them or writing[0].done()):
        yield writing.popleft().result()

    for name, job in jobs:
      alike = dataclasses.replace(
        job.config, fit=dataclasses.replace(job.config.fit, num_gaussians=1)
      )
      kind = (bucket_of(job.image.shape), job.transform, alike)
      waiting[kind].append((name, job))
      if len(waiting[kind]) >= _most(job.image.shape):
        writing.extend(run(waiting.pop(kind)))
      yield from finished(False)
    for bucket in waiting.values():
      writing.extend(run(bucket))
      yield from finished(False)
    yield from finished(True)


def _fit_jobs(jobs: Sequence[Job], key, devices, progress) -> list[Callable]:
  """Fits a bucket; functions that write the files."""
  counts = [job.config.fit.num_gaussians for job in jobs]
  first = jobs[0]

  def lattices(states):
    return [job.lattice(_take(states, i)) for i, job in enumerate(jobs)]

  found = []

  def lattices_once(states):
    found.extend(lattices(states))
    return found

  states = _fit_bucket(
    jnp.broadcast_to(key, (len(jobs),)),
    _batch_of([np.asarray(job.target) for job in jobs], None, counts),
    dataclasses.replace(first.config.fit, num_gaussians=max(counts)),
    lattices=lattices_once,
    transform=first.transform,
    devices=devices,
    progress=progress,
  )
  if not found:  # No step was left to settle.
    found.extend(lattices(states))

  def writer(i):
    state = _take(states, i)
    return lambda: jobs[i].encode(state.gaussians, state.active, found[i])

  return [writer(i) for i in range(len(jobs))]
