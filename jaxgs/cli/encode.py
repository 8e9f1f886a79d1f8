"""`jaxgs encode`: an image to a `.jgs` file."""

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np

from jaxgs import codec
from jaxgs.cli.jgs_file import Jgs, check_distinct, draw_jgs_maps, sizes
from jaxgs.cli.report import CliError, Report, check_backend, note
from jaxgs.cli.saliency import mask_source
from jaxgs.cli.scoring import measure, scores_text
from jaxgs.config import CompressConfig, default_num_gaussians, preset
from jaxgs.decompress import own_pixels
from jaxgs.io import Image, check_writable, read_image, write_atomic
from jaxgs.transfer import levels_to_float

# The moments of MS-SSIM take 48 bytes per pixel and their means as much: of
# larger pictures it is left out.
_MS_SSIM_PX = 1 << 25


def run(args) -> Report:
  """Encodes an image and measures the file."""
  check_writable(args.output, suffixes=(".jgs",))
  image = read_image(args.input, nan=args.nan, profile=args.profile)
  check_distinct(args.input, args.output)
  if args.animate:
    _check_animate(args)
  config = config_of(args, *image.pixels.shape[:2])
  check_backend(config.fit.raster, decode=False)

  from jaxgs.job import Job

  mask = mask_source(args.saliency)(np.clip(image.pixels, 0, 1))
  try:
    job = Job.of(
      image.pixels,
      config,
      bit_depth=image.bit_depth,
      has_alpha=image.has_alpha,
      sample=image.sample,
      curve="none" if image.sample == "integer" else args.curve,
      alpha=args.alpha,
      icc=image.icc,
      mask=mask,
    )
  except ValueError as error:
    raise CliError(f"{args.input}: {error}") from error
  if not args.animate:
    return encode(args, job, {"": image})

  from jaxgs.plots import Film

  film = Film(job)
  report = encode(args, job, {"": image}, watch=film.report)
  film.write(args.animate)
  return report


def config_of(args, height: int, width: int) -> CompressConfig:
  """The settings that are asked for.

  Raises:
    CliError: more Gaussians than pixels.
  """
  n = args.num_gaussians or default_num_gaussians(height, width)
  if n > height * width:
    raise CliError(
      f"--num_gaussians {n} is more than the {height * width} pixels of"
      f" {args.input}"
    )
  config = preset(args.preset, num_gaussians=n, num_steps=args.steps)
  return dataclasses.replace(config, gamma=args.gamma)


def encode(
  args, job, images: dict[str, Image], *, watch: Callable | None = None
) -> Report:
  """Fits a job, writes the file, and measures it against its images.

  Args:
    args: The output and how to fit.
    job: A jaxgs.job.Job.
    images: Its maps by name; the empty name for a picture.
    watch: Sees the fit as it goes, see `jaxgs.compress.Report`.

  Returns:
    What the command says.
  """
  began = time.perf_counter()
  data = _compress(args, job, watch)
  seconds = time.perf_counter() - began
  write_atomic(args.output, data)
  jgs = Jgs(data, *codec.decode(data))
  drawn = draw_jgs_maps(args.output, jgs, max_pixels=own_pixels(jgs.header))
  facts = {"file": args.output, **sizes(jgs)}
  head = (
    f"{args.output}: {facts['bytes']} bytes, {facts['bpp']:.3f} bpp,"
    f" {facts['num_gaussians']} Gaussians of {facts['bits_per_gaussian']:.1f}"
    " bits"
  )
  asked = _metrics_for(jgs.header)
  measured = {
    one.name: measure(
      asked, images[one.name].pixels, levels_to_float(drawn[one.name]), one
    ).found
    for one in jgs.header.pictures
  }
  if not jgs.header.is_stack:
    facts |= measured[""]
    text = f"{head}, {scores_text(measured[''])}, {seconds:.1f} s"
  else:
    facts |= {"psnr_db": job.psnr_db(drawn), "maps": measured}
    lines = [f"{name}: {scores_text(s)}" for name, s in measured.items()]
    overall = f"{head}, PSNR {facts['psnr_db']:.2f} dB, {seconds:.1f} s"
    text = "\n".join([overall, *lines])
  return Report(text, facts | {"seconds": seconds})


def _metrics_for(header: codec.Header) -> argparse.Namespace:
  """What can be told of a picture of this size."""
  is_light = any(one.curve != "none" for one in header.pictures)
  if header.height * header.width <= _MS_SSIM_PX or is_light:
    return argparse.Namespace(metrics=None)
  size = f"{header.width}x{header.height}"
  note("encode", f"ms_ssim is left out: {size} would take too much memory")
  return argparse.Namespace(metrics=("psnr", "ssim"))


def _compress(args, job, watch: Callable | None) -> bytes:
  """The file, of the size or quality that is asked for."""
  import jax

  from jaxgs.compilation_cache import use_compilation_cache
  from jaxgs.compress import compress_job
  from jaxgs.rate_control import TargetError, job_to_psnr, job_to_size

  use_compilation_cache()
  bar, show = _progress(job.config, args.json)

  def report(state) -> None:
    show(state)
    if watch is not None:
      watch(state)

  options = {"key": jax.random.key(args.seed), "report": report}
  height, width, _ = job.image.shape
  try:
    with bar:
      if args.bpp:
        size = max(1, round(args.bpp * height * width / 8))
        return job_to_size(job, size, **options)
      if args.psnr:
        first = job.config.fit.num_gaussians
        return job_to_psnr(job, args.psnr, first=first, **options)
      return compress_job(job, **options)
  except TargetError as error:
    asked = f", --bpp {args.bpp:g} of {width}x{height}" if args.bpp else ""
    raise CliError(f"{args.input}{asked}: {error}") from error


def _check_animate(args) -> None:
  """A film is of a fit that takes minutes: faults come before it."""
  from jaxgs import plots

  plots.check_film(args.animate)
  check_distinct(args.input, args.animate)
  try:
    plots.check_matplotlib()
  except plots.PlotError as error:
    raise CliError(f"--animate: {error}") from error


def _progress(config: CompressConfig, quiet: bool):
  """A bar on the terminal, and the function that moves it."""
  import tqdm

  # None: only where stderr is a terminal.
  bar = tqdm.tqdm(
    total=config.fit.num_steps, unit="step", disable=True if quiet else None
  )

  def report(state) -> None:
    step = int(state.step)
    if step < bar.n:  # A search for a target begins another fit.
      bar.reset()
    psnr = -10 * np.log10(max(float(state.mse), 1e-12))
    text = f"{psnr:.2f} dB, {int(state.active.sum())} Gaussians"
    bar.set_postfix_str(text, refresh=False)
    bar.update(step - bar.n)

  return bar, report
