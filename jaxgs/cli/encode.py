"""`jaxgs encode`: an image to a `.jgs` file."""

import time

import numpy as np

from jaxgs import codec
from jaxgs.cli.jgs_file import (
  Jgs,
  check_distinct,
  draw_jgs,
  scores,
  sizes,
  to_float,
)
from jaxgs.cli.report import CliError, Report, check_backend
from jaxgs.cli.saliency import mask_source
from jaxgs.config import CompressConfig, default_num_gaussians, preset
from jaxgs.io import Image, check_writable, read_image, write_atomic


def run(args) -> Report:
  """Encodes an image and measures the file."""
  check_writable(args.output, suffixes=(".jgs",))
  image = read_image(args.input, nan=args.nan, profile=args.profile)
  check_distinct(args.input, args.output)
  if args.animate:
    _check_animate(args)
  height, width, _ = image.pixels.shape
  n = args.num_gaussians or default_num_gaussians(height, width)
  if n > height * width:
    raise CliError(
      f"--num_gaussians {n} is more than the {height * width} pixels of"
      f" {args.input}"
    )
  config = preset(args.preset, num_gaussians=n, num_steps=args.steps)
  check_backend(config.fit.raster, decode=False)
  began = time.perf_counter()
  data = _compress(args, image, config)
  seconds = time.perf_counter() - began
  write_atomic(args.output, data)
  jgs = Jgs(data, *codec.decode(data))
  facts = {
    "file": args.output,
    **sizes(jgs),
    **scores(image.pixels, to_float(draw_jgs(args.output, jgs))),
    "seconds": seconds,
  }
  return Report(
    f"{args.output}: {facts['bytes']} bytes, {facts['bpp']:.3f} bpp,"
    f" {facts['num_gaussians']} Gaussians of {facts['bits_per_gaussian']:.1f}"
    f" bits, PSNR {facts['psnr_db']:.2f} dB, SSIM {facts['ssim']:.4f},"
    f" {seconds:.1f} s",
    facts,
  )


def _compress(args, image: Image, config: CompressConfig) -> bytes:
  """The file, of the size or quality that is asked for."""
  import jax

  from jaxgs.compilation_cache import use_compilation_cache
  from jaxgs.compress import compress
  from jaxgs.rate_control import (
    TargetError,
    compress_to_psnr,
    compress_to_size,
  )

  use_compilation_cache()
  mask = mask_source(args.saliency)(image.pixels)
  bar, report = _progress(config, args.json)
  film = None
  if args.animate:
    film, report = _film(config, image, report)
  options = {
    "key": jax.random.key(args.seed),
    "report": report,
    "bit_depth": image.bit_depth,
    "has_alpha": image.has_alpha,
    "mask": mask,
  }
  pixels = image.pixels
  height, width, _ = pixels.shape
  try:
    with bar:
      if args.bpp:
        size = max(1, round(args.bpp * height * width / 8))
        data = compress_to_size(pixels, size, config, **options)
      elif args.psnr:
        data = compress_to_psnr(pixels, args.psnr, config, **options)
      else:
        data = compress(pixels, config, **options)
  except TargetError as error:
    asked = f", --bpp {args.bpp:g} of {width}x{height}" if args.bpp else ""
    raise CliError(f"{args.input}{asked}: {error}") from error
  if film:
    film.write(args.animate)
  return data


def _check_animate(args) -> None:
  """A film is of a fit that takes minutes: faults come before it."""
  from jaxgs import plots

  plots.check_film(args.animate)
  check_distinct(args.input, args.animate)
  try:
    plots.check_matplotlib()
  except plots.PlotError as error:
    raise CliError(f"--animate: {error}") from error


def _film(config: CompressConfig, image: Image, report):
  """A film, and a report that goes to it as well."""
  from jaxgs.plots import Film

  size = image.pixels.shape[:2]
  film = Film(config, size, has_alpha=image.has_alpha)

  def both(state) -> None:
    report(state)
    film.report(state)

  return film, both


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
