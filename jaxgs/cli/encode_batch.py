"""`jaxgs encode-batch`: the images of a folder to a folder of `.jgs` files.

Images are read ahead by threads, fitted together where their sizes are alike,
and written, drawn and measured by threads while the next are fitted. What goes
wrong with one image is told in a line and leaves the others alone.
"""

import argparse
import collections
import concurrent.futures
import functools
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from jaxgs import codec, native
from jaxgs.cli.folder import image_names
from jaxgs.cli.report import CliError, Report, check_backend, complain, show
from jaxgs.cli.saliency import mask_source
from jaxgs.compilation_cache import use_compilation_cache
from jaxgs.config import CompressConfig, default_num_gaussians, preset
from jaxgs.decompress import draw_maps, own_pixels
from jaxgs.io import (
  Image,
  ImageError,
  check_writable,
  read_image,
  write_atomic,
)
from jaxgs.job import Job
from jaxgs.stream import Done, compress_jobs

# Images that are read before their turn, at most: their pixels are in memory.
_READ_AHEAD = 8


class _Task(NamedTuple):
  """An image and its file, as paths."""

  source: str
  target: str


class _Skip(NamedTuple):
  """An image that has its file."""

  size: int


def run(args: argparse.Namespace) -> Report:
  """Encodes a folder.

  Args:
    args: Of the command, see `jaxgs.cli.arguments`.

  Returns:
    The summary; its exit code is 1 if an image failed.

  Raises:
    CliError: There is nothing to do, or nowhere to write.
  """
  tasks = _tasks(args.input, args.output)
  steps = _config_of(args, 1).fit.num_steps
  check_backend(_config_of(args, 1).fit.raster, decode=False)
  use_compilation_cache()
  began = time.perf_counter()
  # disable=None: only where stderr is a terminal.
  quiet = True if args.json else None
  total = steps * len(tasks)
  with tqdm.tqdm(total=total, unit="step", disable=quiet) as bar:
    folder = _Folder(args, steps, bar)
    for done in compress_jobs(
      folder.jobs(tasks),
      key=jax.random.key(args.seed),
      progress=bar.update,
      then=_finish,
    ):
      folder.take(done)
  return folder.summary(time.perf_counter() - began)


def _tasks(source: str, target: str) -> list[_Task]:
  """The images of a folder, in the order of their names, and their files."""
  names = image_names(source)
  try:
    os.makedirs(target, exist_ok=True)
  except OSError as error:
    raise CliError(f"{target}: {error.strerror or error}") from error
  return [
    _Task(os.path.join(source, name), os.path.join(target, file))
    for name, file in zip(names, _file_names(names), strict=True)
  ]


def _file_names(names: Sequence[str]) -> list[str]:
  """a.jgs for a.png; a.png.jgs and a.jpg.jgs where both would be a.jgs."""
  whole = set()
  while True:
    files = [
      f"{name if name in whole else pathlib.PurePath(name).stem}.jgs"
      for name in names
    ]
    # Some file systems do not tell A from a.
    uses = collections.Counter(file.casefold() for file in files)
    clashing = {
      name
      for name, file in zip(names, files, strict=True)
      if uses[file.casefold()] > 1
    }
    # Again, since a.png.jgs may now be the file of a.png.png too.
    if clashing <= whole:
      return files
    whole |= clashing


def _config_of(args: argparse.Namespace, num_gaussians: int) -> CompressConfig:
  return preset(args.preset, num_gaussians=num_gaussians, num_steps=args.steps)


def _load(
  args: argparse.Namespace, mask_of: Callable, task: _Task
) -> Job | _Skip:
  """Reads an image, in a thread; its file may be there already."""
  image = read_image(task.source, nan=args.nan, profile=args.profile)
  size = _size_of_file(task.target, image)
  if size is not None:
    return _Skip(size)
  check_writable(task.target, suffixes=(".jgs",))
  height, width, _ = image.pixels.shape
  n = args.num_gaussians or default_num_gaussians(height, width)
  if n > height * width:
    raise CliError(
      f"{task.source}: --num_gaussians {n} is more than its"
      f" {height * width} pixels"
    )
  return Job.of(
    image.pixels,
    _config_of(args, n),
    bit_depth=image.bit_depth,
    has_alpha=image.has_alpha,
    sample=image.sample,
    icc=image.icc,
    mask=mask_of(np.clip(image.pixels, 0, 1)),
  )


def _size_of_file(path: str, image: Image) -> int | None:
  """Bytes of the file if it is whole and could be this image's, else None."""
  try:
    data = pathlib.Path(path).read_bytes()
    header, _ = codec.decode(data)
  except (OSError, codec.BitstreamError):
    return None
  shape = (header.height, header.width, header.channels)
  is_same = shape == image.pixels.shape and not header.is_stack
  return len(data) if is_same else None


def _finish(task: _Task, job: Job, data: bytes) -> dict:
  """Draws and measures a file, and writes it, in a thread."""
  header, symbols = codec.decode(data)
  drawn = draw_maps(header, symbols, max_pixels=own_pixels(header))
  psnr_db = job.psnr_db(drawn)
  write_atomic(task.target, data)
  height, width, _ = job.image.shape
  n = job.config.fit.num_gaussians
  return {
    "bytes": len(data),
    "bpp": 8 * len(data) / (height * width),
    "num_gaussians": n,
    "bits_per_gaussian": 8 * len(data) / n,
    "psnr_db": psnr_db,
  }


def _ahead(pool, function, items: Sequence) -> Iterator[tuple]:
  """(item, future of its result) in order, some of them computed ahead."""
  pending = collections.deque()
  for item in items:
    pending.append((item, pool.submit(function, item)))
    if len(pending) == min(_READ_AHEAD, native.num_threads()):
      yield pending.popleft()
  yield from pending


class _Folder:
  """Tells what became of each image, and counts."""

  def __init__(self, args: argparse.Namespace, num_steps: int, bar: tqdm.tqdm):
    self._args = args
    self._mask_of = mask_source(args.saliency)
    self._num_steps = num_steps
    self._bar = bar
    self._written: list[dict] = []
    self._skipped = self._failed = 0

  def jobs(self, tasks: Iterable[_Task]) -> Iterator[tuple[_Task, Job]]:
    """What there is to fit; the rest is told at once."""
    with concurrent.futures.ThreadPoolExecutor(_READ_AHEAD) as pool:
      load = functools.partial(_load, self._args, self._mask_of)
      for task, future in _ahead(pool, load, tasks):
        try:
          found = future.result()
        # Any: a library may raise what it likes about one image.
        except Exception as error:
          self._fail(task, error)
          continue
        if isinstance(found, Job):
          yield task, found
        else:
          self._skip(task, found)

  def take(self, done: Done) -> None:
    """Tells the result of a fit."""
    if done.error is not None:
      self._fail(done.name, done.error)
      return
    facts = {
      "input": done.name.source,
      "file": done.name.target,
      **done.value,
      "seconds": done.seconds,
    }
    self._written.append(facts)
    text = (
      f"{facts['file']}: {facts['bytes']} bytes, {facts['bpp']:.3f} bpp,"
      f" {facts['num_gaussians']} Gaussians, PSNR {facts['psnr_db']:.2f} dB,"
      f" {facts['seconds']:.1f} s"
    )
    self._say(Report(text, facts))

  def summary(self, seconds: float) -> Report:
    """The last line."""
    written = self._written
    facts = {
      "written": len(written),
      "skipped": self._skipped,
      "failed": self._failed,
      "bytes": sum(facts["bytes"] for facts in written),
      "seconds": seconds,
    }
    text = (
      f"{len(written)} written, {self._skipped} skipped, {self._failed} failed,"
      f" {facts['bytes']} bytes"
    )
    if written:
      psnr = sum(facts["psnr_db"] for facts in written) / len(written)
      facts["mean_psnr_db"] = psnr
      text += f", mean PSNR {psnr:.2f} dB"
    return Report(f"{text}, {seconds:.1f} s", facts, int(self._failed > 0))

  def _skip(self, task: _Task, found: _Skip) -> None:
    self._skipped += 1
    self._shorten()
    facts = {"input": task.source, "file": task.target, "skipped": True}
    text = f"{task.target}: skipped, is there already, {found.size} bytes"
    self._say(Report(text, facts | {"bytes": found.size}))

  def _fail(self, task: _Task, error: Exception) -> None:
    self._failed += 1
    self._shorten()
    message = str(error)
    if not isinstance(error, (ImageError, CliError)):
      # The others do not name the image, or say what kind of fault it is.
      message = f"{task.source}: {type(error).__name__}: {message}"
    with self._bar.external_write_mode():
      complain("encode-batch", message)
      if self._args.json:
        line = " ".join(message.split())
        show(Report("", {"input": task.source, "error": line}), True)

  def _shorten(self) -> None:
    """Takes an image out of the bar."""
    if self._bar.total is not None:
      self._bar.total -= self._num_steps
      self._bar.refresh()

  def _say(self, report: Report) -> None:
    with self._bar.external_write_mode():
      show(report, self._args.json)
