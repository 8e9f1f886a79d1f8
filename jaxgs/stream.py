"""Many images to many files: fitted together, coded while the next are fitted.

Images come one by one and wait for others of like size; threads of the host
write the files of one program while the next is fitted.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs.batch import batch_of, buckets_for, default_devices
from jaxgs.buckets import Part
from jaxgs.config import CompressConfig
from jaxgs.fit_together import Progress, fit_together, take
from jaxgs.job import Job
from jaxgs.state import FitState

# Works on a file in a thread: its name, its job and its bytes.
Then = Callable[[Hashable, Job, bytes], object]


class Done(NamedTuple):
  """One image of a stream.

  Attributes:
    name: As it was given.
    value: What `then` made of the file; the file.
    error: Why there is none, or None.
    seconds: Its share of the time to fit it and those beside it, and the time
      to write it.
  """

  name: Hashable
  value: object
  error: Exception | None
  seconds: float


def compress_batch(
  images: Sequence[np.ndarray],
  config: CompressConfig | None = None,
  *,
  key: jax.Array | None = None,
  devices: Sequence[jax.Device] | None = None,
  progress: Progress | None = None,
) -> list[bytes]:
  """Turns images into the bytes of `.jgs` files, many in one program.

  Files are those of `compress`, image by image, but for rounding and, where
  sizes differ, another draw of the first centres.

  Args:
    images: As for `compress`, of any sizes, channels and depths.
    config: Settings, the same for all; when None the default of `compress`
      with a number of Gaussians that suits each image's size.
    key: PRNG key, the same for all; a fixed one when None.
    devices: Share the images of a program among these; when None, among all
      GPUs of this process if there are several, else on the default device.
    progress: Called after each chunk with the image-steps that it did.

  Returns:
    The files, in the order of the images.

  Raises:
    ValueError: An image or a setting is out of range; says which image.
  """
  # All before the first: a bad image shows at once, not after hours.
  for i, image in enumerate(images):
    try:
      Job.of(image, config)
    except ValueError as error:
      raise ValueError(f"images[{i}]: {error}") from error
  jobs = ((i, Job.of(image, config)) for i, image in enumerate(images))
  files = [b""] * len(images)
  for done in compress_jobs(jobs, key=key, devices=devices, progress=progress):
    if done.error is not None:
      raise done.error
    files[done.name] = done.value
  return files


def compress_jobs(
  jobs: Iterable[tuple[Hashable, Job]],
  *,
  key: jax.Array | None = None,
  devices: Sequence[jax.Device] | None = None,
  progress: Progress | None = None,
  then: Then | None = None,
) -> Iterator[Done]:
  """Compresses a stream of jobs.

  Jobs are fitted when enough of like size have come, or too much waits, and
  the rest at the end: what is held does not grow with the stream. A fault in
  one program or in one file is told with its images and does not stop the rest.

  Args:
    jobs: (name, Job).
    key: See `compress_batch`.
    devices: See `compress_batch`.
    progress: See `compress_batch`.
    then: Called in a thread for each file; its result takes the file's place.

  Yields:
    What is done, about in the order in which it is.
  """
  key = jax.random.key(0) if key is None else key
  devices = devices or default_devices()
  with concurrent.futures.ThreadPoolExecutor() as pool:
    coding = collections.deque()
    for part in _parts(jobs, devices):
      # What was ready while images were read.
      while coding and coding[0].done():
        yield coding.popleft().result()
      writers = _fitted(part, key, devices, progress, then)
      # Images of one program are being coded, those of one are fitted.
      while coding:
        yield coding.popleft().result()
      coding.extend(pool.submit(write) for write in writers)
    while coding:
      yield coding.popleft().result()


def _parts(jobs: Iterable[tuple[Hashable, Job]], devices) -> Iterator[Part]:
  """What to fit, when its time has come; items are (name, Job)."""
  buckets = buckets_for(devices)
  for name, job in jobs:
    fit = job.config.fit
    # The number of Gaussians may differ; all else is one program's.
    alike = dataclasses.replace(
      job.config, fit=dataclasses.replace(fit, num_gaussians=1)
    )
    yield from buckets.add(
      (name, job),
      size=job.image.shape[:2],
      num_gaussians=fit.num_gaussians,
      num_steps=fit.num_steps,
      like=(job.image.shape[2], job.transform, alike),
    )
  yield from buckets.rest()


def _fitted(
  part: Part, key, devices, progress, then
) -> list[Callable[[], Done]]:
  """Fits a part; functions that write the files, or tell what went wrong."""
  began = time.perf_counter()
  try:
    states, lattices, error = *_fit(part, key, devices, progress), None
  # Any: the rest of a long run does not depend on these images.
  except Exception as caught:
    error = caught
  items = part.items
  seconds = (time.perf_counter() - began) / len(items)
  if error is None:
    return [
      functools.partial(
        _write, name, job, take(states, i), lattices[i], then, seconds
      )
      for i, (name, job) in enumerate(items)
    ]
  if len(items) > 1 and "RESOURCE_EXHAUSTED" in str(error):
    # XLA's word for out of memory: there may be room for half of them.
    half = len(items) // 2
    return [
      writer
      for some in (items[:half], items[half:])
      for writer in _fitted(
        part._replace(items=some), key, devices, progress, then
      )
    ]
  return [
    functools.partial(Done, name, None, error, seconds) for name, _ in items
  ]


def _fit(part: Part, key, devices, progress):
  """The states of a part's jobs, and their lattices."""
  jobs = [job for _, job in part.items]
  lattices = {}

  def lattice_at(place, state):
    lattices[place] = jobs[place].lattice(state)
    return lattices[place]

  states = fit_together(
    jnp.broadcast_to(key, (len(jobs), *key.shape)),
    batch_of(
      part,
      [job.target for job in jobs],
      [job.config.fit.num_gaussians for job in jobs],
      _masks(jobs),
    ),
    dataclasses.replace(jobs[0].config.fit, num_gaussians=part.num_gaussians),
    lattice_at=lattice_at,
    quant=jobs[0].config.quant,
    transform=jobs[0].transform,
    devices=devices,
    progress=progress,
  )
  for place in range(len(jobs)):
    if place not in lattices:  # No step was left to settle.
      lattice_at(place, take(states, place))
  return states, lattices


def _masks(jobs: Sequence[Job]) -> list[np.ndarray] | None:
  """How much pixels count, where they do not all count alike."""
  if all(job.mask is None for job in jobs):
    return None
  return [
    np.ones(job.image.shape[:2], np.float32) if job.mask is None else job.mask
    for job in jobs
  ]


def _write(
  name: Hashable, job: Job, state: FitState, lattice, then, seconds: float
) -> Done:
  """Writes a file, in a thread."""
  began = time.perf_counter()
  value = error = None
  try:
    value = job.encode(state.gaussians, state.active, lattice)
    if then is not None:
      value = then(name, job, value)
  # Any: it is told with the image.
  except Exception as caught:
    value, error = None, caught
  return Done(name, value, error, seconds + time.perf_counter() - began)
