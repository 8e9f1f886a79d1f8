"""What a run writes about a fit: metrics, pictures, and the result."""

import dataclasses
import pathlib
import time

import jax.numpy as jnp
import numpy as np
import tqdm

from experiments.workdir import RunConfig, append_metrics, cut_metrics
from jaxgs import metrics
from jaxgs.checkpoint import Checkpoint
from jaxgs.decompress import decompress
from jaxgs.io import write_atomic, write_image
from jaxgs.job import Job
from jaxgs.rasterize import render
from jaxgs.state import FitState


class Recorder:
  """Writes a line of metrics per chunk, and pictures; shows a progress bar."""

  def __init__(
    self, job: Job, run: RunConfig, workdir: pathlib.Path, step: int
  ):
    """Drops what an interrupted run wrote after `step`, its last checkpoint."""
    self._job, self._run, self._workdir = job, run, workdir
    (workdir / "pictures").mkdir(exist_ok=True)
    seconds = cut_metrics(workdir / "metrics.jsonl", step)
    self._began = time.perf_counter() - seconds
    # disable=None: no bar where nobody watches.
    self._bar = tqdm.tqdm(
      total=job.config.fit.num_steps, initial=step, unit="step", disable=None
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()

  @property
  def seconds(self) -> float:
    """Of the fit so far, interrupted parts included."""
    return time.perf_counter() - self._began

  def report(self, state: FitState) -> None:
    """See `jaxgs.compress.Report`."""
    step = int(state.step)
    psnr_db = -10.0 * np.log10(max(float(state.mse), 1e-12))
    active = int(state.active.sum())
    append_metrics(
      self._workdir / "metrics.jsonl",
      {
        "step": step,
        "psnr_db": float(psnr_db),
        "num_gaussians": active,
        "seconds": self.seconds,
      },
    )
    every = self._run.picture_every_steps
    if every and step % every == 0:
      write_image(
        self._workdir / "pictures" / f"step-{step:05}.png",
        draw_picture(self._job, state),
        has_alpha=self._job.maps[0].has_alpha,
      )
    self._bar.set_postfix_str(f"{psnr_db:.2f} dB, {active} splats")
    self._bar.update(step - self._bar.n)


def draw_picture(job: Job, state: FitState) -> np.ndarray:
  """The Gaussians of a fit as a picture, without rounding them.

  Args:
    job: What is fitted.
    state: Of the fit.

  Returns:
    (H, W, C) float32 in [0, 1].
  """
  height, width, _ = job.image.shape
  image = render(
    state.gaussians,
    height=height,
    width=width,
    active=state.active,
    # 0: as much room as this one picture needs.
    spec=dataclasses.replace(job.config.fit.raster, max_pairs=0),
  ).image
  return np.clip(np.asarray(image), 0.0, 1.0) ** (1.0 / job.config.gamma)


def write_results(job: Job, end: Checkpoint, workdir: pathlib.Path, seconds):
  """Writes the file, its picture and the last line of the metrics.

  Args:
    job: What was fitted.
    end: Of the fit.
    workdir: The folder.
    seconds: That the fit took.

  Returns:
    The line, a dict.
  """
  state = end.state
  data = job.encode(state.gaussians, state.active, end.lattice)
  num_gaussians = int(state.active.sum())
  write_atomic(workdir / "image.jgs", data)
  pixels = decompress(data)
  decoded = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
  write_image(
    workdir / "decoded.png",
    decoded,
    bit_depth=job.maps[0].bit_depth,
    has_alpha=job.maps[0].has_alpha,
  )
  image, decoded = jnp.asarray(job.image), jnp.asarray(decoded)
  unrounded = jnp.asarray(draw_picture(job, end.state))
  line = {
    "step": int(end.state.step),
    "psnr_db": float(metrics.psnr(image, decoded)),
    "ssim": float(metrics.ssim(image, decoded)),
    "ms_ssim": float(metrics.ms_ssim(image, decoded)),
    "unquantized_psnr_db": float(metrics.psnr(image, unrounded)),
    "bytes": len(data),
    "bpp": 8 * len(data) / job.image[..., 0].size,
    "num_gaussians": num_gaussians,
    "bits_per_gaussian": 8 * len(data) / num_gaussians,
    "seconds": seconds,
  }
  append_metrics(workdir / "metrics.jsonl", line)
  return line
