"""What a run writes about a fit: metrics, pictures, and the result."""

import pathlib
import time

import jax.numpy as jnp
import numpy as np
import tqdm

from experiments.workdir import RunConfig, append_metrics, cut_metrics
from jaxgs import metrics, plots
from jaxgs.checkpoint import Checkpoint
from jaxgs.decompress import decompress
from jaxgs.io import read_image, write_atomic, write_image, write_samples
from jaxgs.job import Job
from jaxgs.plots import draw_state
from jaxgs.state import FitState
from jaxgs.transfer import levels_to_float, to_coded

# The longest side of the plots beside the pictures, px.
_PLOT_SIDE_PX = 1024


def check_plots(run: RunConfig, animate: str | None) -> None:
  """Checks, before the long work, that what is asked for can be drawn.

  Args:
    run: Settings of the run.
    animate: Name of the film, if one is wanted.

  Raises:
    ValueError: A package is missing, or the film has no known suffix.
  """
  if animate is not None:
    plots.check_film_format(animate)
  if animate is not None or run.ellipses or run.error:
    plots.check_matplotlib()
  if run.tensorboard:
    _board_class()


class Recorder:
  """Writes metrics and what grew per chunk, and pictures; shows a bar."""

  def __init__(
    self,
    job: Job,
    run: RunConfig,
    workdir: pathlib.Path,
    start: FitState,
    *,
    films: bool,
  ):
    """Drops what an interrupted run wrote after its last checkpoint.

    Args:
      job: What is fitted.
      run: Settings of the run.
      workdir: The folder.
      start: The state of that checkpoint, or before the first step.
      films: Whether frames are wanted.
    """
    self._job, self._run, self._workdir = job, run, workdir
    self._films, self._before = films, start
    step = int(start.step)
    (workdir / "pictures").mkdir(exist_ok=True)
    seconds = cut_metrics(workdir / "metrics.jsonl", step)
    cut_growth(workdir / "growth.jsonl", step)
    if films:
      (workdir / "frames").mkdir(exist_ok=True)
    if step == 0:
      self._append_growth(plots.placed_since(None, start))
      self._write_frame(start)
    self._board = None
    if run.tensorboard:
      # What an interrupted run wrote after the checkpoint is not shown.
      folder = str(workdir / "tensorboard")
      self._board = _board_class()(folder, purge_step=step + 1)
    self._began = time.perf_counter() - seconds
    # disable=None: no bar where nobody watches.
    self._bar = tqdm.tqdm(
      total=job.config.fit.num_steps, initial=step, unit="step", disable=None
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()
    if self._board:
      self._board.close()

  @property
  def seconds(self) -> float:
    """Of the fit so far, interrupted parts included."""
    return time.perf_counter() - self._began

  def report(self, state: FitState) -> None:
    """See `jaxgs.compress.Report`."""
    step = int(state.step)
    psnr_db = -10.0 * np.log10(max(float(state.mse), 1e-12))
    active = int(state.active.sum())
    line = {
      "step": step,
      "psnr_db": float(psnr_db),
      "num_gaussians": active,
      "seconds": self.seconds,
    }
    append_metrics(self._workdir / "metrics.jsonl", line)
    placed = plots.placed_since(self._before, state)
    self._before = state
    if len(placed.slots):
      self._append_growth(placed)
    if self._board:
      for name in ("psnr_db", "num_gaussians"):
        self._board.add_scalar(name, line[name], step)
    every = self._run.picture_every_steps
    if every and step % every == 0:
      self._write_pictures(state, psnr_db)
    if step % self._run.frame_every_steps == 0:
      self._write_frame(state)
    self._bar.set_postfix_str(f"{psnr_db:.2f} dB, {active} splats")
    self._bar.update(step - self._bar.n)

  def _append_growth(self, placed: plots.Placed) -> None:
    with (self._workdir / "growth.jsonl").open("a") as file:
      file.write(placed.to_json() + "\n")

  def _write_pictures(self, state: FitState, psnr_db: float) -> None:
    job, step = self._job, int(state.step)
    folder = self._workdir / "pictures"
    pixels = draw_state(state, job)
    rgb = plots.stored_rgb(pixels, job)
    write_image(folder / f"step-{step:05}.png", rgb)
    if self._board:
      self._board.add_image("picture", rgb, step, dataformats="HWC")
    text = f"step {step}, {psnr_db:.2f} dB"
    panels = {}
    if self._run.ellipses:
      panels["ellipses"] = plots.state_panel(
        f"splats, 1 sigma: {text}", state, job
      )
    if self._run.error:
      panels["error"] = plots.error_panel(f"error: {text}", job.image, pixels)
    height, width, _ = job.image.shape
    scale = max(1, _PLOT_SIDE_PX // max(height, width))
    for name, panel in panels.items():
      figure = plots.make_figure(
        [[panel]], (0, 0, width, height), width_px=width * scale
      )
      plots.write_figure(folder / f"{name}-{step:05}.png", figure)
      if self._board:
        shown = plots.figure_pixels(figure)
        self._board.add_image(name, shown, step, dataformats="HWC")

  def _write_frame(self, state: FitState) -> None:
    if self._films:
      frame = plots.draw_frame(state, self._job)
      path = self._workdir / "frames" / f"step-{int(state.step):05}.png"
      write_samples(path, frame)


def check_place(film: pathlib.Path, image: str) -> None:
  """Checks, before the long work, that a film can be written.

  Args:
    film: Its path.
    image: Path of the image, which it must not be.

  Raises:
    ValueError: It cannot.
  """
  plots.check_film(film)
  if film.exists() and film.samefile(image):
    raise ValueError(f"{film}: is the image")


def _board_class():
  try:
    from tensorboardX import SummaryWriter
  except ImportError:
    raise ValueError(
      "run.tensorboard needs tensorboardX: pip install 'jaxgs[tensorboard]'"
    ) from None
  return SummaryWriter


def cut_growth(path: pathlib.Path, step: int) -> None:
  """Drops the lines after a step, and all if the fit begins.

  Args:
    path: Of the lines; it need not exist.
    step: Of the checkpoint.
  """
  if path.exists():
    kept = [p for p in plots.read_placed(path) if 0 < step >= p.step]
    lines = "".join(placed.to_json() + "\n" for placed in kept)
    write_atomic(path, lines.encode())


def write_animation(workdir: pathlib.Path, path: pathlib.Path) -> None:
  """Makes a film of the frames of a run.

  Args:
    workdir: The folder of the run.
    path: Of the film.

  Raises:
    ValueError: There are no frames, or the film cannot be written.
  """
  names = sorted(
    (workdir / "frames").glob("step-*.png"),
    key=lambda name: int(name.stem.removeprefix("step-")),
  )
  if not names:
    raise ValueError(
      f"{workdir}/frames is empty: this run was fitted without --animate"
    )
  frames = [
    np.rint(255 * read_image(name).pixels).astype(np.uint8) for name in names
  ]
  plots.write_film(path, frames)


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
  one = job.maps[0]
  suffix = "png" if one.sample == "integer" else "exr"
  write_samples(workdir / f"decoded.{suffix}", pixels, has_alpha=one.has_alpha)
  # As the file stores them.
  image = jnp.asarray(job.image)
  decoded = jnp.asarray(to_coded(levels_to_float(pixels), one))
  unrounded = jnp.asarray(draw_state(end.state, job))
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
